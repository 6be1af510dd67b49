// An explanation in a notebook. Python sends the photo, the heat without colours and the colour maps; colours and
// opacity are the browser's, classes and methods are asked of Python.

const OPAQUEST = 0.75; // the same two numbers as in an overlay
const CURVE = 0.8;

function labelled(text, control) {
  const label = document.createElement("label");
  control.setAttribute("aria-label", text); // else the options of a list would be part of its name
  label.append(document.createTextNode(text + " "), control);
  return label;
}

function options(select, groups) {
  select.replaceChildren();
  for (const [title, entries] of groups) {
    const into = title ? document.createElement("optgroup") : select;
    if (title) {
      into.label = title;
      select.append(into);
    }
    for (const [value, text] of entries) {
      const option = document.createElement("option");
      option.value = value;
      option.textContent = text; // names are strangers' text: never HTML
      into.append(option);
    }
  }
}

async function bitmap(bytes, type) {
  // Bytes come as a DataView. Its colours are taken as they are: the heat is numbers, no colours.
  const blob = new Blob([bytes], { type });
  return createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
}

function pixels(image, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

function table(digits) {
  const found = new Uint8ClampedArray(digits.length / 2);
  for (let i = 0; i < found.length; i++) found[i] = parseInt(digits.slice(2 * i, 2 * i + 2), 16);
  return found;
}

function blend(photo, heat, colours, opacity, byValue, signed) {
  const made = new ImageData(photo.width, photo.height);
  for (let at = 0; at < made.data.length; at += 4) {
    const value = (heat.data[at] - heat.data[at + 1]) / 255;
    const place = signed ? (value + 1) / 2 : Math.max(0, value);
    const colour = 3 * Math.round(255 * place);
    const strength = byValue ? OPAQUEST * Math.abs(value) ** CURVE : opacity;
    const alpha = heat.data[at + 2] > 127 ? strength : 0;
    for (let i = 0; i < 3; i++) {
      made.data[at + i] = photo.data[at + i] * (1 - alpha) + colours[colour + i] * alpha;
    }
    made.data[at + 3] = 255;
  }
  return made;
}

function render({ model, el }) {
  const box = document.createElement("div");
  box.className = "gradsight";
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", "What the model looked at");
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  const choice = document.createElement("select");
  const method = document.createElement("select");
  const colormap = document.createElement("select");
  const opacity = document.createElement("input");
  Object.assign(opacity, { type: "range", min: "0", max: "1", step: "0.01" });
  const byValue = document.createElement("input");
  byValue.type = "checkbox";
  const caption = document.createElement("p");
  const message = document.createElement("p");
  message.setAttribute("role", "status");
  const controls = document.createElement("div");
  controls.className = "gradsight-controls";
  controls.append(
    labelled("Class", choice),
    labelled("Method", method),
    labelled("Colours", colormap),
    labelled("Opacity", opacity),
    labelled("by strength", byValue),
  );
  box.append(canvas, controls, caption, message);
  el.append(box);

  let photo = null;
  let heat = null;
  let turn = 0;

  function draw() {
    if (!photo || !heat) return;
    const name = model.get("colormap");
    const tables = model.get("colormaps");
    const colours = table(tables[name] ?? Object.values(tables)[0]);
    const made = blend(photo, heat, colours, model.get("opacity"), model.get("by_value"), model.get("signed"));
    canvas.width = made.width;
    canvas.height = made.height;
    canvas.getContext("2d").putImageData(made, 0, 0);
  }

  async function load() {
    const mine = ++turn;
    const shown = await bitmap(model.get("photo"), "image/jpeg");
    const found = await bitmap(model.get("heat"), "image/png");
    if (mine !== turn) return; // a later one is on its way
    photo = pixels(shown, shown.width, shown.height);
    heat = pixels(found, shown.width, shown.height);
    draw();
  }

  function words() {
    options(choice, model.get("choices"));
    options(method, [["", model.get("methods").map((name) => [name, name])]]);
    options(colormap, [["", Object.keys(model.get("colormaps")).map((name) => [name, name])]]);
    choice.value = model.get("choice");
    method.value = model.get("method");
    colormap.value = model.get("colormap");
    opacity.value = model.get("opacity");
    byValue.checked = model.get("by_value");
    opacity.disabled = byValue.checked;
    caption.textContent = model.get("caption");
    canvas.setAttribute("aria-label", model.get("caption"));
    message.textContent = model.get("message");
  }

  function ask(name, value) {
    message.textContent = "The model is asked …";
    model.set(name, value);
    model.save_changes();
  }

  function keep(name, value) {
    model.set(name, value);
    model.save_changes();
    opacity.disabled = byValue.checked;
    draw();
  }

  choice.addEventListener("change", () => ask("choice", choice.value));
  method.addEventListener("change", () => ask("method", method.value));
  colormap.addEventListener("change", () => keep("colormap", colormap.value));
  opacity.addEventListener("input", () => keep("opacity", Number(opacity.value)));
  byValue.addEventListener("change", () => keep("by_value", byValue.checked));

  // Once for each answer: Python changes several of them, and this one last.
  const answered = () => {
    words();
    load();
  };
  model.on("change:answer", answered);
  words();
  load();
  return () => model.off("change:answer", answered);
}

export default { render };
