"""The embedded data: pictures of animals and people that are drawn, so that every study runs without a download.

    skeleton.py        joints, tapered limbs, the camera's view of them
    coats.py           colours of a body's parts, and markings
    quadrupeds.py      four-legged species by their proportions, and their postures and gaits
    birds.py           the same for birds
    people.py          the same for people, with the 16 joints of MPII
    things.py          furniture, plants, tools, figures of geometry
    figures.py         all of these by name; pose(figure, posture, phase)
    drawing.py         a posed body as a patch with its exact box
    places.py          what a fixed camera looks at: ground, plants, stones, distance
    scenes.py          light, figures, shadows, what hides them, blur and noise: one picture
    camera_trap.py     the camera-trap dataset, in the format of Caltech Camera Traps
    planted_faults.py  the faults in it, at known counts
    surroundings.py    where people do things: street, field, stage, hall, room, garden
    activity.py        the activity dataset, in MPII's own .mat
    activity_faults.py the faults in it, at known counts
    portraits.py       a photo of one figure, near and whole
    posture.py         the posture dataset, as a table of actions, and its synthetic pictures
    posture_faults.py  the faults in it, at known counts
    action.py          the action dataset: clips of animals, in the form of Animal Kingdom
    action_animals.py  its animals, and what their bodies do
    action_motion.py   what moves in a clip, so that no frame tells how fast; one frame
    action_drawing.py  bodies and backdrops drawn fast and small
    action_video.py    frames as MP4 files
    action_metadata.py the authors' AR_metadata.xlsx
    action_faults.py   the faults in it, at known counts
    movement.py        clips of people in motion, in a folder for each class
    sketch.py          the synthetic pictures' own style: cartoons
    writing.py         what the data sets share: several processes, files, faults by their counts
    objects.py         other animals, people and things, in a folder for each class

A pose is a pure function of figure, posture (or gait) and phase, and a picture one of place, light and actors, so a
clip is the same scene at successive phases. Figures, places and light were settled before any model saw them, and are
not to be tuned to one.
"""
