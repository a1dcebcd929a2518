"""CCT-20, the benchmark cut of Caltech Camera Traps: 57,864 pictures, 20 locations, cis and trans lists. The same format."""

from stages.datasets.caltech_camera_traps import CITATION, LICENCE, read

__all__ = ["CITATION", "LICENCE", "URLS", "read"]

_LILA = "https://storage.googleapis.com/public-datasets-lila/caltechcameratraps"
URLS: tuple[str, ...] = (f"{_LILA}/eccv_18_annotations.tar.gz", f"{_LILA}/eccv_18_all_images_sm.tar.gz")
