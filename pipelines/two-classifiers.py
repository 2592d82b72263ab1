#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two classifiers in series on one video, their results read in a pad probe and printed as JSON lines.

    pipelines/two-classifiers.py FILE|URI MODEL MODEL

An example to copy from: vigclassify from Python, through GObject introspection (on Debian python3-gst-1.0 and
gir1.2-gst-plugins-bad-1.0). The second classifier looks at every 25th frame only and says its three best labels; the frames
between carry its last result. Both models may be the same; then they share one engine.
"""
import json
import signal
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstAnalytics", "1.0")
from gi.repository import GLib, Gst, GstAnalytics  # noqa: E402

PIPELINE = """
  uridecodebin name=decode caps=video/x-raw(ANY) expose-all-streams=false ! videoconvert !
  vigclassify name=first ! vigclassify name=second interval=25 top-k=3 ! fakesink name=sink sync=false
"""


def ranking(buffer, result):
    """[(label, confidence)] of one result, the most confident first: its entry in the buffer's GstAnalytics metadata."""
    ok, cls_id = result.get_uint("cls-id")
    if not ok:  # nothing reached the element's threshold
        return []
    ok, cls = GstAnalytics.buffer_get_analytics_relation_meta(buffer).get_cls_mtd(cls_id)
    return [(GLib.quark_to_string(cls.get_quark(i)), round(cls.get_level(i), 6)) for i in range(cls.get_length())]


def on_frame(pad, info):
    # This runs in the pipeline's streaming thread, which waits for it, and holds Python's lock: be short. Buffer and
    # metadata are only good in here: copy out what is to be kept. An exception would be printed and otherwise ignored.
    buffer = info.get_buffer()
    line = {"pts": buffer.pts / Gst.SECOND if buffer.pts != Gst.CLOCK_TIME_NONE else None}
    meta = buffer.get_custom_meta("VigResults")  # None: no classifier said anything about this frame
    if meta:
        # one for each classifier that the frame has passed, told apart by its element's name
        for result in meta.get_structure().get_value("results"):
            line[result.get_string("element")] = {"state": result.get_string("state"), "top": ranking(buffer, result)}
    print(json.dumps(line), flush=True)
    return Gst.PadProbeReturn.OK


def on_message(bus, message, pipeline, loop, status):
    if message.type == Gst.MessageType.ERROR:
        error, debug = message.parse_error()
        print("two-classifiers: %s" % error.message, file=sys.stderr)
        status.append(1)
        loop.quit()
    elif message.type == Gst.MessageType.EOS:
        loop.quit()
    elif message.type == Gst.MessageType.LATENCY:  # nothing happens unless the application asks
        pipeline.recalculate_latency()


def main(argv):
    if len(argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `… | head` ends it, without a word
    Gst.init(None)
    name, models = argv[1], {"first": argv[2], "second": argv[3]}
    try:
        pipeline = Gst.parse_launch(PIPELINE)
        uri = name if Gst.uri_is_valid(name) else Gst.filename_to_uri(name)
    except GLib.Error as error:  # no such element, say
        print("two-classifiers: %s" % error.message, file=sys.stderr)
        return 1
    pipeline.get_by_name("decode").set_property("uri", uri)
    for element, model in models.items():
        pipeline.get_by_name(element).set_property("model-file", model)
    pipeline.get_by_name("sink").get_static_pad("sink").add_probe(Gst.PadProbeType.BUFFER, on_frame)

    loop, status = GLib.MainLoop(), []
    bus = pipeline.get_bus()
    bus.add_signal_watch()
    bus.connect("message", on_message, pipeline, loop, status)
    # Python's own handler would not run while the loop waits in C.
    GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGINT, loop.quit)
    pipeline.set_state(Gst.State.PLAYING)  # if this fails, the bus has the reason
    loop.run()
    pipeline.set_state(Gst.State.NULL)
    bus.remove_signal_watch()
    return status[0] if status else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
