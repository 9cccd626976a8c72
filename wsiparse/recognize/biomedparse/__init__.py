"""BiomedParse v1 (Zhao et al., Nature Methods 2024): text-prompted segmentation of microscopy tiles.

Reading order: `config` (sizes), `network` (the parts put together), `backbone`, `pixel_decoder`, `text`, `decoder`,
`matching`; `checkpoint` and `tokenizer` read files, `recipe` makes synthetic weights, `recognizer` serves tiles.
"""
