"""Questions about finished results, answered from their files alone; no language model, no new computation."""
