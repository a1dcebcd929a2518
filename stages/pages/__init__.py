"""The pages that `report` writes.

What they are made of
    study.py        all that the stages left of one data set, as pages read it
    page.py         how a page is written, and what several pages count alike
    charts.py       charts as SVG files
    gallery.py      pictures with what was found in them, each file once
    claims.py       what became of the documents' claims (claims.html)
    documents.py    the figures of the documents on posture, activity and action
    andi.py         those of the document on camera traps, and its tables

The page of a data set, each with a template of its name
    of_cameras.py   one with locations; best_camera.py, of the model that is best there
    of_photos.py    one without
    of_people.py    of people
    of_clips.py     of clips

Further pages
    cards.py        a model card for each model (model_cards.py, model.html) and a data card (data_cards.py, data.html)
    index.py        all data sets on one page, from what report left of each
    headline.py     the same as a slide
    revisions.py    two experiments side by side

Shared by templates
    base.html       what every page is, with page.css and page.js inside
    macros.html     tables, figures that may be missing, pictures
    first_screen.html  the headline, and which model to take
    errors.html     what the best model gets right and wrong
"""
