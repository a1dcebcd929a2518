"""MegaDetector's own check of its format, as `tests/test_formats.py` and `tests/test_predict.py` use it.

To import it has Pillow take truncated pictures for whole ones from then on, in every test; that is taken back here.
"""

from pathlib import Path

from megadetector.postprocessing.validate_batch_results import ValidateBatchResultsOptions, validate_batch_results
from PIL import ImageFile

ImageFile.LOAD_TRUNCATED_IMAGES = False


def check(results: Path, folder: Path) -> None:
    """Raises what it finds wrong with a results file for the pictures below `folder`, which must be there."""
    options = ValidateBatchResultsOptions()
    options.check_image_existence, options.relative_path_base, options.raise_errors = True, str(folder), True
    validate_batch_results(str(results), options)
