// Browse jets in the page. The level of every pixel came with it, so no kernel is asked, and the
// picture follows the slider. Where this does not run, the static picture beside it stays.
(() => {
  const STEPS = {
    ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1,
    PageUp: 10, PageDown: -10, Home: -Infinity, End: Infinity,
  };
  const GUTTER = 48, SIDE = 116, GAP = 14, NOTEBOOK = 116; // CSS pixels; what a notebook puts around
  const digits = (value, count = 2) => String(Number(value.toPrecision(count)));

  function make(tag, properties = {}, ...children) {
    const { label, ...others } = properties;
    const node = Object.assign(document.createElement(tag), others);
    if (label) node.setAttribute("aria-label", label);
    node.append(...children);
    return node;
  }

  const choice = (label, entries) => make("select", { label, title: label },
    ...entries.map(([value, text]) => make("option", { value, textContent: text })));

  async function unpack(text) { // zlib, in base64
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  function colours(text) { // of each level, as a canvas stores them
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return Uint32Array.from({ length: 256 }, (_, i) =>
      0xff000000 | (bytes[3 * i + 2] << 16) | (bytes[3 * i + 1] << 8) | bytes[3 * i]);
  }

  async function start(root) {
    const data = JSON.parse(root.querySelector("script").textContent);
    const levels = await unpack(data.levels);
    const palettes = data.palettes.map(colours);
    const { size, rows, channels, columns, name } = data;
    const several = rows.length > 1, pixels = size * size;
    const gradient = (palette, ...stops) => `linear-gradient(to right, ${stops
      .map((level) => palettes[palette][level])
      .map((c) => `rgb(${c & 255},${(c >> 8) & 255},${(c >> 16) & 255})`)})`;

    // --- controls
    const button = (text, label) =>
      make("button", { type: "button", textContent: text, label, title: label });
    const back = button("◀", `previous ${name}`), play = button("play", "play");
    play.className = "qg-play";
    const next = button("▶", `next ${name}`);
    const slider = make("input", { type: "range", min: 0, step: 1, label: `browse: ${name}` });
    const box = make("input", { type: "number", min: 0, step: 1, label: `${name} number` });
    box.title = `${name} number`;
    const which = choice(`which ${name}s`, [["all", `all ${name}s`],
      ...data.kinds.map((kind, i) => [i, kind])]);
    const order = choice("order", [["", "as given"], ...columns.flatMap((column, i) =>
      [[`-${i}`, `${column.name}: largest first`], [`+${i}`, `${column.name}: smallest first`]])]);
    const part = choice("part of the image", [[data.half, "centre"], [(size - 1) / 2, "whole image"]]);
    const scale = choice("colour scale", [["one", "one colour scale"], ["own", `own scale per ${name}`]]);
    const channel = choice("channels", [["", "all channels"], ...channels.map((c, i) => [i, c.name])]);
    const readout = make("span", { className: "qg-readout" });
    readout.setAttribute("role", "status");
    const hover = make("span", { className: "qg-hover" });
    const message = make("span", { className: "qg-message" });
    message.setAttribute("role", "alert");
    const grid = make("div", { className: "qg-grid" });
    const choices = make("span", { className: "qg-choices" }, order, part, scale);
    if (data.kinds.length > 1) choices.prepend(which);
    if (several) choices.append(channel);
    const controls = make("div", { className: "qg-row" }, back, play, next, slider, box, choices);
    const texts = make("div", { className: "qg-row qg-texts" }, readout, message, hover);
    const live = make("div", { className: "qg-live" }, controls, texts, grid);

    // --- state
    let sequence = [], position = 0, timer = null, pinned = null;
    let panels = [], heads = [], sides = [], side = 1, edge = 1; // panel: image pixels, CSS pixels

    const levelOf = (energy, { floor, most }) => 1 + 254 * Math.log(energy / floor) / Math.log(most / floor);
    const energyOf = (level, { floor, most }, steps = 254) => floor * (most / floor) ** ((level - 1) / steps);
    const place = (jet, row, c) => ((jet * rows.length + row) * channels.length + c) * pixels;

    function topLevel(jet, c) {
      if (scale.value === "one") return levelOf(channels[c].top, channels[c]);
      let top = 2;
      rows.forEach((row, r) => {
        if (row.signed) return;
        const first = place(jet, r, c);
        for (let i = first; i < first + pixels; i++) if (levels[i] > top) top = levels[i];
      });
      return top;
    }

    function table(signed, top) { // colour of each level
      const palette = palettes[signed ? 1 : 0], last = signed ? 127 : 255;
      const stretch = 254 / (top - 1);
      return Uint32Array.from({ length: 256 }, (_, level) => {
        const sign = signed && level > 127 ? 128 : 0, size = level - sign;
        return palette[size ? sign + Math.min(last, 1 + Math.round((size - 1) * stretch)) : 0];
      });
    }

    function paint(panel, jet, tops) {
      const context = panel.canvas.getContext("2d"), image = context.createImageData(side, side);
      const out = new Uint32Array(image.data.buffer);
      const colour = table(rows[panel.row].signed, tops[panel.channel]);
      const low = (size - side) / 2, first = place(jet, panel.row, panel.channel);
      for (let y = 0; y < side; y++) {
        let from = first + low * size + low + side - 1 - y; // eta to the right, phi upwards
        for (let x = 0; x < side; x++, from += size) out[y * side + x] = colour[levels[from]];
      }
      context.putImageData(image, 0, 0);
    }

    function describe(jet) {
      const parts = [`${name} ${jet}`];
      if (data.kinds.length) parts.push(data.kinds[data.kind[jet]]);
      for (const { name, unit, values } of columns)
        if (values[jet] !== null) parts.push(`${name} ${values[jet]} ${unit}`.trim());
      if (!several) parts.push(`lit ${lit(jet, 0)}`);
      return parts.join(" · ");
    }
    const lit = (jet, row) => data.lit[jet][row].join(" / "); // Tracks, ECAL: pixels; HCAL: towers

    function energyText({ row, channel: c, x, y }) {
      const jet = sequence[position], level = levels[place(jet, row, c) + x * size + y];
      const at = (i) => ((i - (size - 1) / 2) * data.pixel).toFixed(2);
      const sign = rows[row].signed ? (level > 127 ? "−" : "+") : "";
      const last = rows[row].signed ? 127 : 255;
      const value = level && energyOf(rows[row].signed ? level & 127 : level, channels[c], last - 1);
      const text = level ? `${sign}${digits(value)} GeV` : "no energy";
      return `${channels[c].name}, Δη ${at(x)}, Δφ ${at(y)}: ${text}`;
    }

    function draw() {
      const jet = sequence[position], tops = channels.map((_, c) => topLevel(jet, c));
      for (const panel of panels) {
        paint(panel, jet, tops);
        const title = [rows[panel.row].title, channels[panel.channel].name].filter(Boolean).join(", ");
        panel.canvas.setAttribute("aria-label", `${title} of ${describe(jet)}`);
      }
      for (const { node, channel: c } of heads) {
        const top = energyOf(tops[c], channels[c]);
        const more = scale.value === "one" && top < 0.999 * channels[c].most ? "+" : "";
        node.textContent = `${digits(top)}${more} GeV`;
      }
      sides.forEach((node, row) => { node.textContent = rows[row].signed ? "" : `lit ${lit(jet, row)}`; });
      readout.textContent = `${describe(jet)} (${position + 1} of ${sequence.length})`;
      slider.value = position;
      slider.setAttribute("aria-valuetext", readout.textContent);
      box.value = jet;
      if (pinned) hover.textContent = energyText(pinned);
      live.dataset.jet = jet;
      settle();
    }

    function settle() { // the pictures stay where they are when a text takes one line less
      texts.style.minHeight = `${texts.getBoundingClientRect().height}px`;
    }

    function go(to) {
      message.textContent = "";
      position = Math.max(0, Math.min(sequence.length - 1, to));
      draw();
    }

    function select() { // which jets, in which order
      sequence = data.kind.flatMap((kind, jet) =>
        which.value === "all" || kind === Number(which.value) ? [jet] : []);
      if (order.value) {
        const sign = order.value[0] === "-" ? -1 : 1, { values } = columns[order.value.slice(1)];
        const key = (jet) => values[jet] === null ? Infinity : sign * values[jet];
        sequence.sort((a, b) => key(a) - key(b) || a - b);
      }
      slider.max = sequence.length - 1;
      go(0);
    }

    function goTo(text) {
      const to = sequence.indexOf(Number(text));
      if (text.trim() !== "" && to >= 0) return go(to);
      const there = Number(text) in data.kind && which.value !== "all";
      message.textContent = there ? `${name} ${text} is not among these: choose all ${name}s`
        : `there is no ${name} ${text}: 0 to ${data.kind.length - 1}`;
      box.value = sequence[position];
      settle();
    }

    // --- panels
    function build() {
      const one = several && channel.value !== "";
      const across = one ? rows.map((_, row) => [row, Number(channel.value)]) : channels.map((_, c) => [0, c]);
      panels = []; heads = []; sides = []; pinned = null; hover.textContent = "";
      grid.replaceChildren(make("span"));
      for (const [row, c] of across) {
        const title = one ? rows[row].title : channels[c].name, signed = one && rows[row].signed;
        const bar = make("i", { className: "qg-bar" }), top = make("span");
        bar.style.background = signed ? gradient(1, 255, 192, 129, 1, 64, 127)
          : gradient(0, 1, 32, 64, 96, 128, 160, 192, 224, 255);
        if (signed) top.textContent = "too much";
        else heads.push({ node: top, channel: c });
        const low = signed ? "too little" : digits(channels[c].floor);
        grid.append(make("div", { className: "qg-head" },
          make("b", { textContent: title }), make("span", { textContent: low }), bar, top));
      }
      grid.append(make("span"));
      (one ? [null] : rows).forEach((row, r) => {
        grid.append(make("div", { className: "qg-phi" },
          make("b", { textContent: several && !one ? row.title : "" }),
          make("span", { className: "qg-ticks" },
            make("span"), make("span", { textContent: "Δφ" }), make("span"))));
        for (const [column, c] of across) {
          const canvas = make("canvas", { className: "qg-picture" });
          canvas.setAttribute("role", "img");
          panels.push({ canvas, row: one ? column : r, channel: c });
          grid.append(canvas);
        }
        const text = make("div"), note = make("div");
        if (several && !one) {
          sides.push(text);
          if (row.signed) note.append(make("i", { className: "qg-more" }), "too much",
            make("br"), make("i", { className: "qg-less" }), "too little");
        }
        grid.append(make("div", { className: "qg-side" }, text, note));
      });
      grid.append(make("span"));
      across.forEach(() => grid.append(make("div", { className: "qg-eta" },
        make("span"), make("span", { textContent: "Δη" }), make("span"))));
      grid.style.setProperty("--more", gradient(1, 1, 64, 127));
      grid.style.setProperty("--less", gradient(1, 129, 192, 255));
      arrange();
    }

    function arrange() { // a whole number of screen pixels for each pixel, as many as there is room for
      const across = panels.length / Math.max(1, sides.length), down = Math.max(1, sides.length);
      side = 2 * Number(part.value) + 1;
      texts.style.minHeight = "";
      const aside = sides.length ? SIDE : 0;
      const wide = (live.clientWidth - GUTTER - aside - GAP * across) / across;
      const others = controls.offsetHeight + texts.offsetHeight + 44;
      const high = (window.innerHeight - NOTEBOOK - others) / down - 4;
      const ratio = window.devicePixelRatio || 1;
      edge = Math.max(1, Math.floor(Math.min(wide, Math.max(high, 100)) * ratio / side)) * side / ratio;
      grid.style.gridTemplateColumns = `${GUTTER}px repeat(${across}, ${edge}px) ${aside}px`;
      for (const { canvas } of panels) {
        canvas.width = canvas.height = side;
        canvas.style.width = canvas.style.height = `${edge}px`;
      }
      const end = (side / 2 * data.pixel).toFixed(1);
      for (const ticks of grid.querySelectorAll(".qg-eta, .qg-ticks")) {
        const phi = ticks.className === "qg-ticks";
        ticks.firstChild.textContent = phi ? end : `−${end}`;
        ticks.lastChild.textContent = phi ? `−${end}` : end;
      }
      if (sequence.length) draw();
    }

    // --- what the reader does
    const under = (event) => {
      const panel = panels.find(({ canvas }) => canvas === event.target);
      if (!panel) return null;
      const low = (size - side) / 2, at = (offset) => Math.min(side - 1, Math.floor(offset / edge * side));
      return { ...panel, x: low + at(event.offsetX), y: low + side - 1 - at(event.offsetY) };
    };
    const call = (text) => {
      play.textContent = play.title = text;
      play.setAttribute("aria-label", text);
    };
    const stop = () => {
      clearInterval(timer);
      timer = null;
      call("play");
      readout.setAttribute("aria-live", "polite");
    };
    slider.oninput = () => go(Number(slider.value));
    box.onchange = () => goTo(box.value);
    back.onclick = () => go(position - 1);
    next.onclick = () => go(position + 1);
    play.onclick = () => {
      if (timer !== null) return stop();
      call("pause");
      readout.setAttribute("aria-live", "off");
      timer = setInterval(() => root.isConnected ? go((position + 1) % sequence.length) : stop(), 400);
    };
    which.onchange = order.onchange = select;
    part.onchange = arrange;
    scale.onchange = draw;
    channel.onchange = build;
    grid.onmousemove = grid.onmouseleave = (event) => {
      const at = under(event);
      if (!pinned) hover.textContent = at ? energyText(at) : "";
    };
    grid.onclick = (event) => {
      const at = under(event);
      pinned = pinned ? null : at;
      hover.classList.toggle("qg-pinned", Boolean(pinned));
      hover.textContent = at ? energyText(at) : "";
    };
    grid.onmousedown = (event) => { event.preventDefault(); slider.focus({ preventScroll: true }); };
    for (const kind of ["mousedown", "focusin", "keydown", "keyup", "keypress"])
      live.addEventListener(kind, (event) => event.stopPropagation()); // the notebook acts on none
    live.addEventListener("keydown", (event) => {
      const typing = event.target.tagName === "SELECT" || event.target === box;
      if (typing || !(event.key in STEPS) || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      go(position + STEPS[event.key]);
    });

    root.querySelector("img").hidden = true;
    root.querySelector(".qg-live")?.remove(); // of a page that was saved while it was live
    root.append(live);
    build();
    select();
    arrange();
    let width = live.clientWidth;
    new ResizeObserver(() => {
      if (live.clientWidth !== width) { width = live.clientWidth; arrange(); }
    }).observe(live);
  }

  for (const root of document.querySelectorAll(".qg-browser")) {
    if (root.qgStarted || typeof DecompressionStream === "undefined") continue;
    root.qgStarted = true;
    start(root);
  }
})();
