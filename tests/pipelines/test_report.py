# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pages and sheets of vig-label in a real browser without a network: test_report.py MAKE_PAGES VIG_LABEL PLUGIN_FOLDER MODEL"""
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import urllib.parse

import browser
import tap

MAKE_PAGES, LABEL, PLUGINS, MODEL = map(os.path.abspath, sys.argv[1:5])
WORK = tempfile.TemporaryDirectory()
FOLDER = WORK.name
PAGES = "plain", "hostile", "few", "long", "nothing", "stream", "index"


def path(name):
    return os.path.join(FOLDER, name)


def make():
    # without our plugin: one built with a sanitizer cannot be loaded into a program built without
    environment = dict(os.environ, GST_REGISTRY=path("plain-registry"), GST_REGISTRY_FORK="no")
    source = "gst-launch-1.0 --quiet --no-fault videotestsrc num-buffers=100 pattern=%s ! video/x-raw,width=320,height=240,framerate=25/1 ! "
    for line in (source % "ball" + "vp8enc deadline=1 keyframe-max-dist=10 ! webmmux ! filesink location=film",
                 source % "smpte" + "x264enc ! taginject scope=stream tags=image-orientation=rotate-90 ! mp4mux ! filesink location=turned.mp4"):
        subprocess.run(line.split(), cwd=FOLDER, env=environment, check=True)
    os.rename(path("film"), path("plain film.webm"))
    os.mkdir(path("in"))
    os.link(path("plain film.webm"), os.path.join(os.fsencode(path("in")), b"ball & <b> \xe9.webm"))
    os.rename(path("turned.mp4"), path("in/turned.mp4"))
    open(path("in/empty.mkv"), "w").close()
    subprocess.run([MAKE_PAGES, FOLDER], check=True)


def read(name):
    with open(path(name + ".html"), "rb") as f:
        return f.read().decode()


make()
os.mkdir(path("browser"))
B = browser.Browser(path("browser"))
B.size(1200, 1000)


def opened(name, fragment=""):
    seconds = B.open(path(name + ".html"), fragment)
    if B.run("Boolean(document.querySelector('#view'))") and name != "plain":  # it has seen that there is no film
        B.wait("!document.getElementById('video')")
    return seconds


def test_no_network_and_no_complaint():
    for name in PAGES:
        opened(name)
        for url in B.requests():
            # the page, its film, and pictures that are written in it (or in the browser itself)
            assert url.startswith("data:") or url.startswith("file:") and url.split("#")[0].endswith((name + ".html", ".webm", ".mkv")), (name, url)
        # of a film that is not there the browser says so; nothing else
        said = [c for c in B.complaints() if not ("ERR_FILE_NOT_FOUND" in c and ".mkv" in c)]
        assert not said, (name, said)
        assert not re.search(r'(src|href)="https?:', read(name)), name


def test_segments_and_curves():
    opened("plain")
    assert B.run("document.querySelectorAll('#timeline rect').length") == 5
    assert B.run("document.querySelectorAll('#segments tbody tr').length") == 5
    assert B.run("[...document.querySelectorAll('.lane b')].map(b => b.textContent).join()") == "covered,normal,defocused"
    # the first segment is as long as the table says: 0.8 of 4 s
    wide = B.run("document.querySelector('#timeline rect').getBoundingClientRect().width / document.querySelector('#timeline').getBoundingClientRect().width")
    assert abs(wide - 0.2) < 0.005, wide
    assert B.run("[...document.querySelectorAll('path.line')].every(p => p.getTotalLength() > 900)")
    assert B.run("document.querySelectorAll('.thumb img').length") in range(32, 65)
    assert B.run("[...document.querySelectorAll('.thumb img')].every(i => i.complete && i.naturalWidth == i.width || i.naturalWidth == 256)")


def seeks(seconds):
    B.wait("Math.abs(document.getElementById('video').currentTime - %s) < 0.05" % seconds)
    B.wait("document.getElementById('now').textContent.startsWith('0:0%.1f')" % seconds)
    B.wait("Math.abs(parseFloat(document.getElementById('head').style.left) - %s) < 1" % (100 * seconds / 4))


def test_clicks_seek():
    opened("plain")
    B.wait("document.getElementById('video').readyState >= 1")
    assert B.run("document.getElementById('video').videoWidth") == 320
    B.run("document.querySelectorAll('#segments a')[2].click()")
    seeks(1.36)
    assert "defocused" in B.run("document.getElementById('now').textContent")
    assert B.run("document.querySelector('#segments tr.at').rowIndex") >= 2
    B.run("document.querySelectorAll('.thumb')[40].click()")
    seeks(B.run("Number(document.querySelectorAll('.thumb')[40].dataset.t)"))
    B.run("document.getElementById('slider').scrollIntoView()")
    x, y, wide, high = B.run("(b => [b.x, b.y, b.width, b.height])(document.getElementById('slider').getBoundingClientRect())")
    B.click(x + wide / 2, y + high / 2)
    seeks(2.0)
    assert not B.run("document.getElementById('peek').hidden")
    B.run("document.querySelectorAll('#segments td:last-child')[1].click()")  # anywhere in the row
    seeks(0.68)


def test_keys_seek():
    opened("plain")
    B.wait("document.getElementById('video').readyState >= 1")
    B.run("document.getElementById('slider').focus()")
    for key, seconds in ("PageDown", 0.68), ("PageDown", 1.36), ("PageUp", 0.68), ("ArrowRight", 0.72), ("Home", 0), ("End", 4):
        B.press(key)
        B.wait("Math.abs(Number(document.getElementById('slider').ariaValueNow) - %s) < 0.05" % seconds)
    assert B.run("document.getElementById('slider').getAttribute('aria-valuetext')").startswith("0:04.0")


def test_a_link_opens_at_its_moment():
    opened("plain", "#t=1.36")
    seeks(1.36)
    B.run("location.hash = '#t=2.5'")
    seeks(2.5)


def test_playing_moves_along():
    opened("plain")
    B.run("document.getElementById('video').play()")
    B.wait("document.querySelector('#segments tr.at td b').textContent == 'covered'")


def test_without_the_video_pictures_stand_for_it():
    for name in "hostile", "few", "long":
        opened(name)
        assert B.run("!document.getElementById('still').hidden && document.getElementById('still').naturalWidth > 0"), name
        assert B.run("!document.getElementById('cannot').hidden"), name
        B.run("[...document.querySelectorAll('.thumb')].at(-1).click()")
        assert B.run("document.getElementById('still').src == [...document.querySelectorAll('.thumb img')].at(-1).src"), name
        assert B.run("document.getElementById('still').alt.startsWith('picture at ')"), name
    opened("few")
    assert B.run("document.getElementById('still').naturalWidth") < B.run("document.getElementById('still').naturalHeight")
    opened("stream")
    assert B.run("!document.getElementById('video') && !document.getElementById('still').hidden")


def test_names_cannot_break_out():
    opened("hostile")
    assert B.run("document.scripts.length") == 2  # the summary and the page's own
    assert B.run("document.querySelectorAll('[onerror]').length") == 0
    assert B.run("[...document.querySelectorAll('#segments b')].map(b => b.textContent).join('|')") == \
        "</script><script>alert(1)</script>|\"'><img src=x onerror=alert(2)>&amp;|<!-- \ufffd\ufffd"
    assert "<script>alert(3)</script> \ufffd" in B.run("document.querySelector('.error').textContent")
    assert B.run("document.title").startswith("b> & \"co\" 'x' \ufffd\ufffd #1?100%.mkv")
    # the link is percent-encoded, byte by byte
    source = re.search(r'<video[^>]* src="([^"#]*)#t=', read("hostile")).group(1)
    assert urllib.parse.unquote_to_bytes(source).endswith(b"/no/such/<b>film</b> & \"co\" 'x' \xe9\xff #1?100%.mkv"), source
    opened("index")
    assert B.run("document.scripts.length") == 1


def test_few_and_many():
    opened("few")
    assert B.run("document.querySelectorAll('.thumb').length") == 5
    seconds = opened("long")
    print("# 50,000 frames: %.1f s, %d bytes" % (seconds, os.path.getsize(path("long.html"))))
    assert os.path.getsize(path("long.html")) < 3 << 20
    assert 500 < B.run("document.querySelectorAll('#timeline rect').length") <= 1000
    assert B.run("document.querySelectorAll('#segments tbody tr').length") == 2941
    assert B.run("Math.max(...[...document.querySelectorAll('path.line')].map(p => p.getAttribute('d').length))") < 30000


def test_nothing_but_a_reason():
    opened("nothing")
    assert B.run("document.querySelector('.error').textContent") == "Could not be labelled: expected a video, found an empty file"
    assert not B.run("document.querySelector('#timeline, #segments, video')")


def test_light_and_dark_and_narrow():
    luminance = "(c => { const [r, g, b] = c.match(/\\d+/g).map(Number); return 0.2126 * r + 0.7152 * g + 0.0722 * b })"
    for name in "plain", "index", "nothing":
        for scheme, dark in ("light", False), ("dark", True):
            B.scheme(scheme)
            opened(name)
            back, fore = (B.run("%s(getComputedStyle(document.body).%s)" % (luminance, what)) for what in ("backgroundColor", "color"))
            assert (back < 60 and fore > 200) if dark else (back > 230 and fore < 60), (name, scheme, back, fore)
        for wide in 1200, 700, 360:
            B.size(wide, 800)
            assert B.run("document.documentElement.scrollWidth") <= wide, (name, wide)
        B.size(1200, 1000)
    B.scheme("light")


def test_without_pointer_and_sight():
    for name in PAGES:
        opened(name)
        assert B.run("document.documentElement.lang") == "en"
        assert B.run("[...document.images].every(i => i.hasAttribute('alt'))")
        assert B.run("[...document.querySelectorAll('.thumb img')].every(i => i.alt.length > 12)")
        assert B.run("[...document.querySelectorAll('a')].every(a => a.getAttribute('href') && a.textContent.trim())")
        assert B.run("[...document.querySelectorAll('svg')].every(s => s.ariaHidden == 'true' || s.ariaLabel)")
        assert B.run("[...document.querySelectorAll('th')].every(th => th.scope == 'col')")


def test_index():
    opened("index")
    rows = "[...document.querySelectorAll('#videos tbody tr')]"
    assert B.run(rows + ".length") == 7
    assert B.run(rows + ".filter(r => r.classList.contains('failed')).length") == 3
    assert "7 videos, 33:31 in all, 3 with errors" in B.run("document.querySelector('header').textContent")
    assert "No such file" in B.run(rows + ".at(-1).textContent")
    assert B.run(rows + "[0].querySelectorAll('svg path').length") == 5
    assert B.run(rows + "[0].querySelector('.named').textContent").startswith("covered 0:0")
    B.run("document.getElementById('failed').click()")
    assert B.run(rows + ".filter(r => !r.hidden).length") == 3
    B.run("document.getElementById('failed').click()")
    B.run("(w => { w.value = 'film defocused'; w.dispatchEvent(new Event('input', {bubbles: true})) })(document.getElementById('words'))")
    assert B.run(rows + ".filter(r => !r.hidden).length") == 1
    B.run("document.querySelectorAll('th button')[1].click()")
    assert B.run(rows + ".at(-1).cells[1].textContent") == "33:20.0"
    B.run(rows + ".find(r => r.textContent.includes('plain')).querySelector('a').click()")
    B.wait("document.title == 'plain film.webm'")


def test_sheets():
    for name, least in ("plain", 1200), ("hostile", 1200), ("few", 720), ("long", 400), ("nothing", 720), ("stream", 720):
        with open(path(name + ".png"), "rb") as f:
            head = f.read(24)
        assert head[:8] == b"\x89PNG\r\n\x1a\n", name
        width, height = struct.unpack(">II", head[16:24])
        assert width >= least and 60 < height < 4000, (name, width, height)


# ---- of vig-label itself --------------------------------------------------------------------------------------------------------

def label(*arguments):
    environment = dict(os.environ, GST_REGISTRY=path("registry"), GST_REGISTRY_FORK="no", GST_PLUGIN_PATH=PLUGINS)
    if not os.path.exists(path("registry")):  # made by itself, once: looking into every plugin of the system leaks, which is not tested here
        subprocess.run([LABEL, "--dry-run", "--model", MODEL, path("in")], env=dict(environment, ASAN_OPTIONS="detect_leaks=0"),
                       stdout=subprocess.DEVNULL, check=True)
    done = subprocess.run([LABEL, "--model", MODEL, "--report", "--contact-sheet", *arguments], cwd=FOLDER, env=environment,
                          capture_output=True, text=True, timeout=200)
    assert done.returncode in (0, 1), done  # 1: the empty file
    return done.stdout


def pages(folder):
    """By the beginnings of their names."""
    return {name.split("-")[0]: path(folder + "/videos/" + name) for name in os.listdir(path(folder + "/videos")) if name.endswith(".html")}


def test_pages_of_vig_label():
    label("--output", "out", "in")
    found = pages("out")
    assert len(found) == 3, found
    B.open(found["turned.mp4"])
    B.wait("document.getElementById('video').readyState >= 1")
    assert B.run("document.getElementById('video').videoWidth < document.getElementById('video').videoHeight")  # the browser turns it too
    assert B.run("[...document.querySelectorAll('.thumb img')].every(i => i.naturalWidth == 192 && i.naturalHeight == 256)")
    with open([f.path for f in os.scandir(path("out/videos")) if f.name.startswith("turned") and f.name.endswith(".jsonl")][0]) as f:
        lines = [json.loads(line) for line in f]
    segments = [line for line in lines if line["type"] == "segment"]
    assert segments and B.run("document.querySelectorAll('#timeline rect').length") == len(segments)
    assert B.run("[...document.querySelectorAll('#segments tbody b')].map(b => b.textContent)") == [s["label"] for s in segments]
    B.open([page for name, page in found.items() if name.startswith("ball")][0])
    B.wait("document.getElementById('video').readyState >= 1")  # the name is not UTF-8, and it plays all the same
    assert B.run("document.title") == "ball & <b> \ufffd.webm"
    B.open(found["empty.mkv"])
    assert "it is empty" in B.run("document.querySelector('.error').textContent")
    for page in found.values():
        with open(page[:-5] + ".png", "rb") as f:
            assert f.read(8) == b"\x89PNG\r\n\x1a\n"


def test_index_of_vig_label():
    index = path("out/index.html")
    with open(index, "rb") as f:
        whole = f.read()
    B.open(index)
    assert "3 videos, 0:08 in all, 1 with errors" in B.run("document.querySelector('header').textContent")
    B.run("[...document.querySelectorAll('#videos a')].find(a => a.textContent.includes('turned')).click()")
    B.wait("document.title == 'turned.mp4'")
    # a run that finds everything done makes it again, of what is on disk
    os.remove(index)
    assert re.search(r"done before +2\n", label("--output", "out", "in")), "it was labelled again"
    with open(index, "rb") as f:
        assert f.read() == whole


def test_merged_pages_of_vig_label():
    for shard in "1", "2":
        label("--output", "parts/of/" + shard, "--shard", shard + "/2", "in")
    label("--output", "merged", "--merge", "parts/of/1", "parts/of/2")
    # as if they had been made there
    one, merged = pages("out"), pages("merged")
    for name in one:
        with open(one[name], "rb") as a, open(merged[name], "rb") as b:
            assert a.read() == b.read(), name
    with open(path("out/index.html"), "rb") as a, open(path("merged/index.html"), "rb") as b:
        assert a.read() == b.read()


try:
    tap.main(globals())
finally:
    B.close()
