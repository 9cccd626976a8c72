"""From slides to a results folder: plan, chunks, objects, outputs, one slide and many."""
