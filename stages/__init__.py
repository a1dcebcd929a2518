"""Ethogram's stages. `python -m stages.<stage>` runs one; `dvc repro` runs those whose inputs changed.

The pipeline, in its order
    imports.py      of what code each stage is made, so that DVC runs again what a change of code touches
    check.py        the whole of params.yaml, before anything else
    download.py     source -> data/raw/<dataset>, in the authors' own format
    clean.py        raw -> samples table + rejects table, each reject with its reason
    bboxes.py       boxes of people from their joints
    split.py        samples -> one list of parts for each version
    balanced.py     a cut with so many samples of each class, for split
    clips.py        clips that the split uses -> their frames at one rate and size, so that training decodes no video
    pretrain.py     the embedded profile's stand-in for published weights
    harden.py       a version with the weakest classes upsampled or isolated
    synthesize.py   prompts and seeds -> pictures by Stable Diffusion, or drawn, with their provenance; a version of the split
    train.py        one model -> models/<model>/ and its predictions
    heatmaps.py     pictures and heatmaps of the joints found in them, stored for a classifier
    evaluate.py     one model's predictions -> answers and metrics
    compare.py      models of one data set against each other, on the same pictures
    report.py       everything of one data set -> reports/<dataset>/index.html

Commands of the user's
    predict.py      a trained model on a folder of photos and videos
    export.py       trained models as ONNX files, compared with the originals (export_clips.py: those of clips)
    labels.py       a part of a split out for labelling by hand; the labels come in by `download.labels`
    subset.py       which clips a study wants, from the metadata alone
    verify.py       every stage's sha256 manifest against what is on disk
    doctor.py       what is wrong with the machine, the environment, data, cache and settings, and what to do (doctoring/)
    dvc_lock.py     puts dvc.lock back where a kill of dvc cut it off

What predict is made of
    trained.py      a trained model by its name, and what its evaluation chose
    media.py        which photos and videos there are, when they were taken, a video's frames
    entries.py      what a network says of each file
    windows.py      the same of videos whose actions are told: windows of frames over time
    journal.py      that, as it is said: a killed run goes on where it was
    sequences.py    which files show one event
    verdicts.py     what was said becomes answers
    results.py      an answer, as what follows knows it
    formats/        one file for each format that answers are written in
    annotate.py     copies with what was found drawn in
    separate.py     copies with people and vehicles apart
    own_labels.py   scores against a user's labels
    summary.py      the table at the end

What they share
    threads.py      one thread a process
    command.py      how a stage begins and ends: a clear message instead of a traceback
    alone.py        one writer of an output, which ends with the dvc that started it
    settings.py     params.yaml -> frozen typed records
    files.py        whole-or-nothing outputs, hashes, seeds
    sources.py      a downloaded data set, for its readers
    transfer.py     one file from an address, resumed and checked
    archives.py     unpacking that nothing escapes from
    video_files.py  a video, GIF or folder of frames -> its frames, the right way up, with their times
    clean_videos.py  what `clean` finds out about clips
    conform.py      which frame was on screen when: clips at one rate
    stored_clips.py  the frames that `clips` stored, read in any order
    clip_views.py   how a clip is shown to a network: which frames, which squares
    film.py         frames side by side, with captions
    chosen.py       what the profile in use chooses of params.yaml, a file for each stage's part
    tables.py       tables of its own: read from disk, held to their rules
    mat_files.py    whether a MATLAB file is laid out as it should be, looked at before scipy reads it
    samples.py      the samples table: columns, units, checks
    people.py       the tables of people and joints
    joints.py       the document's rules for joints, and boxes round them
    stamps.py       joints -> heatmap and back
    shards.py       pictures as tensors, many to a file; written whole, gone on with after a kill
    pictures.py     one decoder; hashes of a picture
    geometry.py     boxes as arrays
    isolation.py    an animal without its background: masked, cut out, pasted elsewhere
    megadetector.py the boxes of a MegaDetector JSON
    views.py        how a picture is shown to a network, and the way back for boxes
    regions.py      the boxes that a classifier looks into
    inference.py    a trained network in use: the loop that shows it pictures
    loading.py      pictures for training: decoded once, augmented by seed
    backbones.py    2-D networks by name, and their starting weights
    fit.py          the one training loop
    limits.py       out of memory or of disk: what to tell
    training.py     what comes before and after it: starting weights, the card, the cost
    fingerprint.py  what a training or a stage's finished parts were made from: other inputs are other work
    classifier.py   a network that tells classes apart, of pictures or of crops
    cost.py         what a trained network costs, measured
    predictions.py  the predictions table
    answers.py      one answer for each picture and sequence, by what validation chose
    scores.py       metrics of answers as pure functions
    seeds.py        several trainings of one model, and how far their figures lie apart
    box_scores.py   metrics of boxes
    pose_scores.py  metrics of joints
    precision_recall.py  precision against recall at every score
    box_figures.py, pose_figures.py, clip_figures.py   what evaluate measures of boxes, of joints, of clips, part by part
    claims.py       what compare says of claims, and of models of clips: mAP, choices between two actions
    calibration.py  how sure against how often right
    screening.py    which of the pictures that were made are fit to train on
    generators/     what makes pictures to order: stable_diffusion, renderer
    datasets/       one file for each source format
    networks/       one folder for each model family: image, crop, yolo, efficientdet, heatmap, slowfast
    pages/          the pages that report writes
    embedded/       the renderer of the embedded data
"""

import stages.threads  # noqa: F401  and nothing else here: this file is in no stage's list of code (imports.py)
