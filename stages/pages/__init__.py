"""The pages that `report` writes.

study.py        all that the stages left of one data set, as pages read it
page.py         how a page and its charts are written, and what several pages count alike
of_cameras.py   what the page of a data set with locations shows (of_cameras.html is its template)
of_photos.py    the same of one without locations
of_people.py    of people
of_clips.py     of clips
base.html       what every page is: its head, its way about, its style and script
macros.html     what templates share
"""
