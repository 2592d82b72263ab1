// SPDX-License-Identifier: LGPL-2.1-or-later
// The page of one video: everything that has a time seeks; video, pictures, timeline and table show the same moment.
"use strict";
const end = Number(document.body.dataset.end);
const $ = id => document.getElementById(id);
const video = $("video"), still = $("still"), slider = $("slider");
const moments = selector => [...document.querySelectorAll(selector)].map(element => ({element, t: Number(element.dataset.t),
  end: Number(element.dataset.end)}));
const pictures = moments(".thumb"), rows = moments("#segments tbody tr");
let now = 0, plays = Boolean(video);

// The last whose time is not later, or the first.
function at(list, t) {
  let from = 0, to = list.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    if (list[middle].t <= t + 1e-3) from = middle + 1; else to = middle;
  }
  return list[Math.max(from - 1, 0)];
}
function nearest(t) {
  const before = at(pictures, t), after = pictures[pictures.indexOf(before) + 1];
  return after && after.t - t < t - before.t ? after : before;
}
function text(t) {
  const tenths = Math.round(t * 10), s = Math.floor(tenths / 10), two = n => String(n).padStart(2, "0");
  const clock = s < 3600 ? Math.floor(s / 60) : Math.floor(s / 3600) + ":" + two(Math.floor(s / 60) % 60);
  return clock + ":" + two(s % 60) + "." + tenths % 10;
}
// What holds at t, as the table says it.
function labels(t) {
  return rows.filter(row => row.t <= t + 1e-3 && t < row.end);
}
function name(row) {
  return row.element.cells[3].textContent + " " + row.element.cells[4].textContent;
}

function mark(list, chosen) {
  for (const one of list)
    if (one.element.classList.contains("at") !== chosen.includes(one)) one.element.classList.toggle("at");
}
// Shows the moment t everywhere but in the video.
function show(t) {
  now = Math.min(Math.max(t, 0), end);
  const held = labels(now), said = text(now) + (held.length ? " · " + held.map(name).join(", ") : "");
  $("now").textContent = said;
  mark(rows, held);
  if (slider) {
    $("head").style.left = 100 * now / end + "%";
    slider.setAttribute("aria-valuenow", now.toFixed(3));
    slider.setAttribute("aria-valuetext", said);
  }
  const picture = nearest(now);
  if (!picture) return;
  const strip = $("strip"), was = picture.element.classList.contains("at");
  mark(pictures, [picture]);
  if (!was) strip.scrollLeft = picture.element.offsetLeft - strip.offsetLeft - (strip.clientWidth - picture.element.clientWidth) / 2;
  const image = picture.element.querySelector("img");
  if (!still.src || !plays) { still.src = image.src; still.alt = image.alt; }
}
function seek(t) {
  show(t);
  if (plays) video.currentTime = now;
}

// The browser cannot play it: the nearest picture stands for it.
function give_up() {
  plays = false;
  if (video) video.remove();
  if (still) { still.hidden = false; $("cannot").hidden = !video; }
  show(now);
}
if (video) {
  video.addEventListener("error", give_up);
  video.addEventListener("loadedmetadata", () => { if (!video.videoWidth) give_up(); else if (now > 0) video.currentTime = now; });
  video.addEventListener("timeupdate", () => show(video.currentTime));
  video.addEventListener("seeking", () => show(video.currentTime));
  if (video.error) give_up();
} else {
  give_up();
}

document.addEventListener("click", event => {
  const one = event.target.closest("[data-t]");
  if (!one || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  seek(Number(one.dataset.t));
});

if (slider) {
  const time = $("time"), peek = $("peek"), plot = event => {
    const box = slider.getBoundingClientRect();
    return (event.clientX - box.left) / box.width * end;
  };
  const inside = event => { const t = plot(event); return t >= 0 && t <= end; };
  let dragging = false;
  time.addEventListener("pointerdown", event => {
    if (event.button || !inside(event)) return;
    dragging = true;
    seek(plot(event));
  });
  addEventListener("pointerup", () => { dragging = false; });
  time.addEventListener("pointermove", event => {
    peek.hidden = !inside(event);
    if (peek.hidden) return;
    const t = plot(event), picture = nearest(t), image = peek.firstChild;
    peek.style.left = 100 * t / end + "%";
    image.hidden = !picture;
    if (picture) image.src = picture.element.querySelector("img").src;
    peek.lastChild.textContent = [text(t), ...labels(t).map(name)].join(" · ");
    if (dragging) seek(t);
  });
  time.addEventListener("pointerleave", () => { peek.hidden = true; });

  const next = forward => {
    const starts = rows.map(row => row.t).filter(t => forward ? t > now + 1e-3 : t < now - 1e-3);
    return starts.length ? (forward ? Math.min(...starts) : Math.max(...starts)) : forward ? end : 0;
  };
  const keys = {ArrowRight: () => now + end / 100, ArrowUp: () => now + end / 100, ArrowLeft: () => now - end / 100,
    ArrowDown: () => now - end / 100, PageDown: () => next(true), PageUp: () => next(false), Home: () => 0, End: () => end};
  slider.addEventListener("keydown", event => {
    if (!keys[event.key]) return;
    event.preventDefault();
    seek(keys[event.key]());
  });
}

// page.html#t=12.5 opens there.
function asked() {
  const t = /^#t=([0-9.]+)$/.exec(location.hash);
  if (t) seek(Number(t[1]));
}
addEventListener("hashchange", asked);
show(0);
asked();
