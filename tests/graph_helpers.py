"""What tests of the shipped graph share."""

# How many stages each entry of a section of params.yaml stands for; four more are there once: three look whether anything
# changed, and one writes the index of all data sets.
STAGES_OF = {
    **{"datasets": 4, "compare": 1, "pretrained": 1, "harder": 1, "synthetic": 1, "bboxes": 1, "heatmaps": 1, "clips": 1},
    "models": 2,
}
ALONE = 4
