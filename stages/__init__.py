"""Ethogram's stages. `python -m stages.<stage>` runs one; `dvc repro` runs those whose inputs changed.

The pipeline, in its order
    check.py        the whole of params.yaml, before anything else
    download.py     source -> data/raw/<dataset>, in the authors' own format
    clean.py        raw -> samples table + rejects table, each reject with its reason
    split.py        samples -> one list of parts for each version
    train.py        one model -> models/<model>/
    evaluate.py     one model -> predictions and metrics
    report.py       everything of one data set -> reports/<dataset>/index.html (report.html is its template)

Commands of the user's
    verify.py       every stage's sha256 manifest against what is on disk

What they share
    command.py      how a stage ends: a clear message instead of a traceback
    settings.py     params.yaml -> frozen typed records
    files.py        whole-or-nothing outputs, hashes, seeds
    sources.py      a downloaded data set, for its readers
    transfer.py     one file from an address, resumed and checked
    archives.py     unpacking that nothing escapes from
    samples.py      the samples table: columns, units, checks
    pictures.py     one decoder; hashes of a picture
    geometry.py     boxes as arrays
    loading.py      pictures for a network: decoded once, augmented by seed
    backbones.py    2-D networks by name, and their starting weights
    fit.py          the one training loop
    predictions.py  the predictions table
    scores.py       metrics as pure functions

    datasets/       one file for each source format
    networks/       one file for each model family
    embedded/       the renderer of the embedded data
"""
