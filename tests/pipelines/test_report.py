# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pages and sheets of vig-label in a real browser without a network: test_report.py MAKE_PAGES"""
import os
import re
import struct
import subprocess
import sys
import tempfile
import urllib.parse

import browser
import tap

WORK = tempfile.TemporaryDirectory()
FOLDER = WORK.name
PAGES = "plain", "hostile", "few", "long", "nothing", "stream", "index"


def make():
    subprocess.run(("gst-launch-1.0 --quiet --no-fault videotestsrc pattern=ball num-buffers=100 ! video/x-raw,width=320,height=240,"
                    "framerate=25/1 ! vp8enc deadline=1 keyframe-max-dist=10 ! webmmux ! filesink location=film").split(),
                   cwd=FOLDER, check=True)
    os.rename(os.path.join(FOLDER, "film"), os.path.join(FOLDER, "plain film.webm"))
    subprocess.run([sys.argv[1], FOLDER], check=True)


def path(name):
    return os.path.join(FOLDER, name)


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


try:
    tap.main(globals())
finally:
    B.close()
