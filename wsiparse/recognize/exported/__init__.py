"""Engines of model folders whose networks are others' than ours: a card, and an ONNX or a TorchScript file.

calibration  what of a slide is learned once: stain vectors, percentiles
inputs       pixels to what the network sees
onnx_file    what an ONNX file claims, read without any library, and refused where it reaches outside its folder
networks     the file computed by OpenVINO, ONNX Runtime or PyTorch
maps         channels to probabilities, by the roles of the card
energy       hover maps and labels to a landscape
star         star-convex candidates to labels
recognizers  the above in a row: nuclei, regions
rdf          bioimage.io's rdf.yaml as a card
engine       the engine of a folder

This file imports nothing, so that the engine's facts cost nothing.
"""
