"use strict";

// The page of one slide. Everything it says comes from the block of facts in the document; names are only ever put
// into it as text. A class is a layer of tiles of its own, so hiding it is a matter of opacity.
(() => {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const [slideWidth, slideHeight] = facts.size;
  const EMPTY = "class/empty.gif";
  const byId = (id) => document.getElementById(id);

  const element = (tag, properties = {}, children = []) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };

  const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
  const precise = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
  const density = (value) => (value === null ? "–" : (value >= 100 ? whole : precise).format(value));

  // ---- which tiles hold anything -------------------------------------------------------------------------------

  // Level 0 comes as bits; coarser levels are made of it by joining two by two, finer ones ask the tile they lie in.
  const occupancy = (text) => {
    let [columns, rows] = facts.tiles;
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    let bits = new Uint8Array(columns * rows);
    bits.forEach((_, i) => { bits[i] = (bytes[i >> 3] >> (7 - (i & 7))) & 1; });
    const levels = [{ bits, columns }];
    while (columns > 1 || rows > 1) {
      const [c, r] = [(columns + 1) >> 1, (rows + 1) >> 1];
      const joined = new Uint8Array(c * r);
      bits.forEach((bit, i) => {
        if (bit) joined[(Math.floor(i / columns) >> 1) * c + ((i % columns) >> 1)] = 1;
      });
      [bits, columns, rows] = [joined, c, r];
      levels.push({ bits, columns });
    }
    return (exponent, x, y) => {
      const level = levels[Math.min(Math.max(exponent, 0), levels.length - 1)];
      const finer = Math.max(-exponent, 0);
      return level.bits[(y >> finer) * level.columns + (x >> finer)] === 1;
    };
  };

  // ---- tiles ---------------------------------------------------------------------------------------------------

  const source = (levels, url) => ({
    width: levels.width,
    height: levels.height,
    tileSize: facts.tile,
    tileOverlap: facts.overlap,
    minLevel: 0,
    maxLevel: levels.levels - 1,
    getTileUrl: url,
  });

  const picture = facts.picture
    ? source(facts.picture, (level, x, y) => `slide/${level}/${x}_${y}.jpg`)
    // without the slide an empty tile stands in for it, over the white of the page
    : { ...source({ width: slideWidth, height: slideHeight, levels: 1 }, () => EMPTY), tileOverlap: 0, tileSize: Math.max(slideWidth, slideHeight) };

  const overlay = (entry) => {
    const occupied = occupancy(entry.occupied);
    const { levels, finest } = facts.overlay;
    return source(facts.overlay, (level, x, y) =>
      occupied(finest + levels - 1 - level, x, y) ? `class/${entry.id}/${level}/${x}_${y}.png` : EMPTY);
  };

  // regions below cells, so that no cell hides under a region
  const found = facts.classes.filter((entry) => entry.occupied !== null);
  const stacked = ["region", "cell"].flatMap((kind) => found.filter((entry) => entry.kind === kind));

  const viewer = OpenSeadragon({
    element: byId("picture"),
    drawer: "canvas",
    tileSources: [
      { tileSource: picture, x: 0, y: 0, width: 1 },
      ...stacked.map((entry) => ({ tileSource: overlay(entry), x: 0, y: 0, width: 1 })),
    ],
    subPixelRoundingForTransparency: OpenSeadragon.SUBPIXEL_ROUNDING_OCCURRENCES.ALWAYS,
    maxZoomPixelRatio: Math.max(1, facts.mpp[0] / facts.closest_um) * (facts.picture ? 2 ** facts.picture.finest : 1),
    minZoomImageRatio: 0.7,
    visibilityRatio: 0.3,
    showNavigationControl: false,
    showNavigator: true,
    navigatorPosition: "BOTTOM_RIGHT",
    navigatorSizeRatio: 0.18,
    navigatorBackground: "#fff",
    navigatorOpacity: 1,
    navigatorBorderColor: "#b8bec6",
    navigatorDisplayRegionColor: "#0b5cad",
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
    imageLoaderLimit: 6,
    maxImageCacheCount: 400,
    timeout: 120000,
    animationTime: window.matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 0.5,
    blendTime: 0,
  });

  const layers = new Map(); // class id -> its layer, once it is there
  const hidden = new Set();
  let opacity = 1;

  const settle = () => {
    for (const [id, layer] of layers) layer.setOpacity(hidden.has(id) ? 0 : opacity);
  };

  const look = () => {
    let busy = viewer.world.getItemCount() < stacked.length + 1;
    for (let i = 0; i < viewer.world.getItemCount(); i += 1) {
      const item = viewer.world.getItemAt(i);
      busy ||= item.getOpacity() > 0 && !item.getFullyLoaded();
    }
    byId("picture").setAttribute("aria-busy", String(busy));
  };

  viewer.world.addHandler("add-item", ({ item }) => {
    stacked.forEach((entry) => {
      if (viewer.world.getItemAt(1 + stacked.indexOf(entry)) === item) layers.set(entry.id, item);
    });
    item.addHandler("fully-loaded-change", look);
    settle();
    look();
  });

  // ---- drawn regions -------------------------------------------------------------------------------------------

  const SVG = "http://www.w3.org/2000/svg";

  const drawRegions = () => {
    const svg = document.createElementNS(SVG, "svg");
    const [units, part] = [[slideWidth, slideHeight].join(" "), (tag, facts_) => {
      const made = document.createElementNS(SVG, tag);
      for (const [name, value] of Object.entries(facts_)) made.setAttribute(name, value);
      return made;
    }];
    svg.setAttribute("viewBox", `0 0 ${units}`);
    svg.setAttribute("class", "regions");
    const step = Math.max(slideWidth, slideHeight) / 60;
    const hatch = part("pattern", { id: "hatch", width: step, height: step, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
    hatch.append(part("path", { d: `M0 0V${step}`, stroke: "#000", "stroke-width": step / 12 }));
    svg.append(hatch);
    for (const region of facts.regions) {
      for (const [stroke, width] of [["#fff", 4], [region.colour, 2]]) {
        const path = part("path", {
          d: region.path, stroke, "stroke-width": width, "vector-effect": "non-scaling-stroke", "fill-rule": "evenodd",
          fill: region.left_out && width === 2 ? "url(#hatch)" : "none",
        });
        if (region.left_out) path.setAttribute("stroke-dasharray", "8 6");
        path.append(part("title", {}));
        path.lastChild.textContent = region.left_out ? `${region.name}, left out` : region.name;
        svg.append(path);
      }
    }
    viewer.addOverlay({ element: svg, location: new OpenSeadragon.Rect(0, 0, 1, slideHeight / slideWidth) });
    const box = byId("show-regions");
    box.addEventListener("change", () => svg.classList.toggle("off", !box.checked));
    const names = [...new Map(facts.regions.map((r) => [r.name, r])).values()];
    byId("region-names").append(...names.map((region) => {
      const swatch = element("span", { className: "swatch" });
      swatch.style.background = region.colour;
      return element("li", {}, [swatch, element("span", { textContent: region.left_out ? `${region.name} (left out, dashed)` : region.name })]);
    }));
    byId("regions").hidden = false;
  };

  if (facts.regions.length) viewer.addOnceHandler("open", drawRegions);

  // ---- scale bar -----------------------------------------------------------------------------------------------

  const LONGEST_PX = 160;

  const drawScale = () => {
    const umPerPx = (slideWidth * facts.mpp[0]) / (viewer.viewport.getContainerSize().x * viewer.viewport.getZoom(true));
    const limit = LONGEST_PX * umPerPx;
    const power = 10 ** Math.floor(Math.log10(limit));
    const length = power * (limit >= 5 * power ? 5 : limit >= 2 * power ? 2 : 1);
    const text = length >= 1000 ? `${length / 1000} mm` : `${precise.format(length)} µm`;
    byId("scale-bar").style.width = `${Math.round(length / umPerPx)}px`;
    byId("scale-text").textContent = text;
    byId("scale").setAttribute("aria-label", `Scale bar: ${text}`);
  };

  for (const event of ["open", "animation", "resize", "viewport-change"]) viewer.addHandler(event, drawScale);

  byId("closer").addEventListener("click", () => viewer.viewport.zoomBy(1.6).applyConstraints());
  byId("farther").addEventListener("click", () => viewer.viewport.zoomBy(1 / 1.6).applyConstraints());
  byId("whole").addEventListener("click", () => viewer.viewport.goHome());

  // ---- counts --------------------------------------------------------------------------------------------------

  byId("engine").textContent = facts.engine;
  byId("notes").append(...facts.notes.map((text) => element("p", { className: "note", textContent: text })));

  byId("limits").append(...facts.limits.map((text) => element("p", { className: "small", textContent: text })));
  byId("limits").hidden = facts.limits.length === 0;

  const boxes = [];

  const classRow = (entry) => {
    const box = element("input", { type: "checkbox", id: `class-${entry.id}`, checked: entry.occupied !== null });
    box.disabled = entry.occupied === null;
    box.setAttribute("aria-label", `Show ${entry.name}`);
    box.addEventListener("change", () => {
      if (box.checked) hidden.delete(entry.id);
      else hidden.add(entry.id);
      settle();
      look();
    });
    boxes.push(box);
    const swatch = element("span", { className: "swatch" });
    swatch.style.background = entry.colour;
    const label = element("label", { htmlFor: box.id, textContent: entry.name });
    const verdict = entry.kind === "region" ? `${entry.verdict}, ${precise.format(entry.area_mm2)}\u00a0mm²` : entry.verdict;
    const mark = element("span", { className: "verdict", textContent: verdict });
    mark.classList.toggle("doubtful", entry.verdict !== "found");
    return element("tr", {}, [
      element("td", {}, [box, swatch]),
      element("td", {}, [label, mark]),
      element("td", { className: "number", textContent: whole.format(entry.n) }),
      element("td", { className: "number", textContent: density(entry.density) }),
    ]);
  };

  byId("classes").append(...facts.classes.map(classRow));

  if (facts.classes.filter((entry) => entry.kind === "cell").length > 1) {
    byId("totals").append(element("tr", {}, [
      element("td"),
      element("td", { textContent: "All cells" }),
      element("td", { className: "number", textContent: whole.format(facts.n_cells) }),
      element("td", { className: "number", textContent: density(facts.cell_density) }),
    ]));
  }
  byId("analysed").textContent = `${precise.format(facts.analysed_mm2)} mm² of tissue analysed`;

  const showAll = (shown) => {
    for (const box of boxes) {
      if (!box.disabled && box.checked !== shown) box.click();
    }
  };
  byId("all").addEventListener("click", () => showAll(true));
  byId("none").addEventListener("click", () => showAll(false));
  byId("opacity").addEventListener("input", (event) => {
    opacity = Number(event.target.value) / 100;
    settle();
  });

  // ---- hot-spots -----------------------------------------------------------------------------------------------

  const { edge_um: edge, rate, all, squares } = facts.hotspots;
  const choice = byId("spot-class");
  const frame = element("div", { className: "spot" });
  let framed = false;

  const jump = (button, square, text) => {
    for (const other of byId("spots").querySelectorAll("[aria-current]")) other.removeAttribute("aria-current");
    button.setAttribute("aria-current", "true");
    // world units: the slide is one wide
    const place = new OpenSeadragon.Rect(square.x, square.y, square.width, square.height).times(1 / slideWidth);
    if (framed) viewer.updateOverlay(frame, place);
    else viewer.addOverlay({ element: frame, location: place });
    framed = true;
    const [w, h] = [place.width * 0.15, place.height * 0.15];
    viewer.viewport.fitBoundsWithConstraints(
      new OpenSeadragon.Rect(place.x - w, place.y - h, place.width + 2 * w, place.height + 2 * h));
    byId("said").textContent = `Showing ${text}`;
  };

  const listSpots = () => {
    byId("spots").replaceChildren(...squares[choice.value].map((square, i) => {
      const count = `${i + 1}. ${whole.format(square.n)} objects`;
      const dense = `${density(square.density)} per mm²${square.hot ? ", hot" : ""}`;
      const button = element("button", { type: "button" }, [
        element("span", { textContent: count }), element("span", { textContent: dense }),
      ]);
      button.setAttribute("aria-label", `Go to square ${count}, ${dense}`);
      button.addEventListener("click", () => jump(button, square, `square ${count}, ${dense}`));
      return element("li", {}, [button]);
    }));
  };

  const listed = found.filter((entry) => squares[entry.id]);
  for (const entry of listed) choice.append(element("option", { value: String(entry.id), textContent: entry.name }));
  if (squares[all]) choice.append(element("option", { value: all, textContent: "All cells" }));
  choice.addEventListener("change", listSpots);
  byId("spot-method").textContent =
    `The squares of the report: ${edge} µm × ${edge} µm, laid from the corner of the analysed tissue, objects per mm² of ` +
    `tissue in them. Hot ones (Getis-Ord Gi*, false discovery rate ${rate}) come first; the others are dense, and no more ` +
    "can be said of them.";
  if (listed.length || squares[all]) listSpots();
  else byId("hotspots").hidden = true;
})();
