"""The embedded network and its family: compact networks that find and name nuclei, run from the folder of a model.

compact   layers, weights files
cut       how maps become nuclei
shares    which class gets which pixels of a nucleus
classes   tiles to probabilities
openvino  the same network by OpenVINO
loading   weights, checked and tried
folder    the engine of a folder
engine    the engine of the folder that ships, `model`

This file imports nothing, so that the engine's facts cost nothing.
"""
