"""Figures of the documents on posture, activity and action, for showing beside ours: never a pass mark, never a result of ours.

They stand in shared/papers/posture.md, activity.md and action.md, by the names of the models that repeat theirs.
"""

# posture, https://www.kaggle.com "Animals with Skeleton Key Points and Action Mark". Accuracy and recalls in %, as its slides
# have them. Its runs with and without augmentation rest on different test sets.
POSTURE_ACCURACY = {
    "posture-vit-scratch": 69.42,
    "posture-vit-scratch-augmented": 70.11,
    "posture-vit-transfer": 92.64,
    "posture-vit-transfer-augmented": 88.22,
    "posture-vit-mixup": 94.49,
    "posture-vit-synthetic": 94.63,
    "posture-resnet50-scratch": 70.11,
    "posture-resnet50-scratch-augmented": 70.11,
    "posture-resnet50-transfer": 85.06,
    "posture-resnet50-transfer-augmented": 86.20,
    "posture-resnet50-mixup": 89.09,
    "posture-resnet50-synthetic": 87.27,
}
POSTURE_CLASSES = ("lying", "running", "sitting", "walking_standing")
# Recall of POSTURE_CLASSES. Where a slide has two runs it does not say of which: here they stand with the one that its changes
# are of.
POSTURE_RECALL = {
    "posture-vit-scratch-augmented": (10, 0, 13, 98),
    "posture-resnet50-scratch-augmented": (0, 0, 0, 100),
    "posture-vit-transfer": (70, 75, 75, 97),
    "posture-resnet50-transfer-augmented": (80, 63, 63, 93),
    "posture-vit-mixup": (80, 75, 88, 97),
    "posture-resnet50-mixup": (83, 50, 71, 97),
    "posture-vit-synthetic": (100, 75, 88, 97),
    "posture-resnet50-synthetic": (83.33, 71.43, 78.57, 90.75),
}
# Its signed changes in points: of the accuracy, then of the recalls; 0 where it has a dash.
POSTURE_CHANGES = {
    "posture-vit-transfer": (22.53, 60, 75, 62, -1),
    "posture-resnet50-transfer-augmented": (16.09, 80, 63, 63, -7),
    "posture-vit-mixup": (1.85, 10, 0, 13, 0),
    "posture-resnet50-mixup": (2.89, 3, -13, 8, 4),
    "posture-vit-synthetic": (1.99, 30, 0, 13, 0),
    "posture-resnet50-synthetic": (1.07, 3.33, 8.93, 16.07, -2.96),
}
POSTURE_SLIDES = {  # its slides of results: the runs of each
    "Baseline: trained from scratch": ("scratch", "scratch-augmented"),
    "Transfer learning": ("transfer", "transfer-augmented"),
    "Manifold mixup": ("mixup",),
    "Synthetic data": ("synthetic",),
}
POSTURE_NETWORKS = {"ViT": "posture-vit", "ResNet50": "posture-resnet50"}
# Its "Results Comparison": the run behind each column.
POSTURE_COMPARISON = {
    "baseline": ("posture-vit-scratch-augmented", "posture-resnet50-scratch-augmented"),
    "transfer": ("posture-vit-transfer", "posture-resnet50-transfer-augmented"),
    "manifold mixup": ("posture-vit-mixup", "posture-resnet50-mixup"),
    "synthetic": ("posture-vit-synthetic", "posture-resnet50-synthetic"),
}
POSTURE_BEST = "posture-vit-synthetic"
POSTURE_PICTURES = {"in": 967, "kept": 819}
POSTURE_COUNTS = dict(zip(POSTURE_CLASSES, (88, 70, 67, 592), strict=True))

# activity, MPII.
ACTIVITY_MODEL = "activity-rgb-heatmap"
# In %. Accuracy is the micro average.
ACTIVITY_FIGURES = {"accuracy": 61.24, "precision_weighted": 63.24, "recall_weighted": 61.24}
ACTIVITY_PICTURES = {"in": 24_987, "kept": 17_408}
ACTIVITY_PARTS = {"pose": {"train": 2400, "test": 1200}, "activity": {"train": 2536, "test": 1089}}  # its val is our test
# How often each joint 0-15 is annotated in a picture, on average, of stage 1: its train and its val.
ACTIVITY_JOINTS = {
    "train": (
        1.1923, 1.3911, 1.6171, 1.6175, 1.3915, 1.1920, 1.6106, 1.6455,
        1.6446, 1.6226, 1.6386, 1.6438, 1.6514, 1.6511, 1.6442, 1.6349,
    ),
    "test": (
        1.1926, 1.4047, 1.6271, 1.6265, 1.4076, 1.1921, 1.6207, 1.6511,
        1.6505, 1.6286, 1.6446, 1.6512, 1.6564, 1.6561, 1.6488, 1.6417,
    ),
}  # fmt: skip
ACTIVITY_VERSION = "pose"

# action, Animal Kingdom: mAP, its Table 1, by clips of a class to train on.
ACTION_MAP = {
    "action-scratch-10": 0.27211,
    "action-scratch-100": 0.32320,
    "action-kinetics-10": 0.45641,
    "action-kinetics-100": 0.53707,
    "action-imagenet-10": 0.18941,
    "action-imagenet-100": 0.33044,
}
ACTION_STARTS = {"scratch": "From scratch", "kinetics": "Pretrained on Kinetics-400", "imagenet": "Pretrained on ImageNet"}
ACTION_BEST = "action-kinetics-100"
ACTION_CLIPS = {"train": 100, "val": 10, "test": 10}  # of each of nine classes
ACTION_FEW, ACTION_FEW_CLIPS = "few", 10  # the version of the split with little to train on
ACTION_CLASS = "Swimming"  # the true class of its Figure 2 b
