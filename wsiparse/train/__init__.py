"""Annotated tiles to weights: what `wsiparse train` does.

recipe    every number, from YAML
data      tiles and annotations from disk, divided into seen and held out
targets   annotations to planes: what the network shall answer, and where that is known
augment   crops as other laboratories and scanners would show them
paint     what looks like nuclei and is none
batches   what one step sees
loss      how wrong maps are
answers   maps to nuclei and classes
outline   points that get outlines from the network as far as it has come
figures   held-out figures
loop      steps, checkpoints, resuming
curves    the course of a training as a picture
session   folders of tiles to a model folder

The network itself is `wsiparse.recognize.embedded.compact`.
"""
