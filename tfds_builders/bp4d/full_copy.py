"""What a full copy of BP4D holds, as counted on published lists. Not for what a user leaves out."""

# Coded frames of each subject: ME-GraphAU's lists, with which JAA-Net's agree but for the images below.
FRAMES = {
    **dict(F001=3934, F002=3937, F003=3700, F004=3737, F005=3915, F006=3576, F007=3573, F008=3695),
    **dict(F009=3297, F010=3266, F011=3732, F012=3543, F013=3434, F014=3490, F015=3451, F016=3510),
    **dict(F017=3823, F018=3525, F019=3489, F020=3646, F021=3447, F022=3593, F023=3726),
    **dict(M001=4153, M002=3833, M003=3379, M004=3521, M005=3271, M006=3572, M007=3684, M008=3291),
    **dict(M009=3290, M010=3298, M011=3469, M012=3609, M013=3613, M014=3483, M015=3664, M016=3648),
    **dict(M017=3542, M018=3488),
}

# JAA-Net's lists lack as many, in seven sequences; whether for want of an image or of landmarks is not known.
FRAMES_WITHOUT_IMAGE = {"part1": 30, "part2": 16, "part3": 225}

# Frames with an occurrence, from the same source as FRAMES.
UNITS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
OCCURRENCES = {
    "part1": (8322, 8172, 10085, 21055, 29862, 29183, 28277, 20274, 7664, 16080, 8023, 7076),
    "part2": (10223, 6568, 9870, 23312, 27651, 27954, 26187, 25762, 10024, 18379, 8657, 7867),
    "part3": (12497, 10370, 9800, 23309, 23103, 30133, 28066, 22339, 7181, 15947, 7608, 7286),
}
