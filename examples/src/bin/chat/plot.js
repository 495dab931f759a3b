// A line plot of MB/s over seconds on a canvas, in the colours of the page.

const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
const MARGIN = { left: 44, right: 12, top: 28, bottom: 22 };

export class Plot {
  #canvas;
  #series = [];

  constructor(canvas) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.#paint()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#paint());
  }

  /** Shows series: a colour by its custom property, and points `[seconds, MB/s]`. */
  draw(series) {
    this.#series = series;
    this.#paint();
  }

  #paint() {
    const canvas = this.#canvas;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (width === 0 || height === 0) return;
    const scale = devicePixelRatio || 1;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const style = getComputedStyle(canvas);
    const color = (name) => style.getPropertyValue(name).trim();
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    context.font = FONT;

    const points = this.#series.flatMap((series) => series.points);
    const times = steps(Math.max(1, ...points.map(([time]) => time)), 8);
    const rates = steps(Math.max(10, ...points.map(([, rate]) => rate)) * 1.05, 5);
    // The grid's last line for rates is above them all; time ends where the data does.
    const topRate = rates.at(-1);
    const lastTime = Math.max(1, ...points.map(([time]) => time));
    const right = width - MARGIN.right;
    const bottom = height - MARGIN.bottom;
    const x = (time) => MARGIN.left + (time / lastTime) * (right - MARGIN.left);
    const y = (rate) => bottom - (rate / topRate) * (bottom - MARGIN.top);

    context.strokeStyle = color("--grid");
    context.fillStyle = color("--muted");
    context.lineWidth = 1;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const rate of rates) {
      line(context, [[MARGIN.left, y(rate)], [right, y(rate)]]);
      context.fillText(label(rate), MARGIN.left - 8, y(rate));
    }
    context.textBaseline = "top";
    context.textAlign = "center";
    for (const time of times.filter((time) => time <= lastTime)) {
      context.fillText(label(time), x(time), bottom + 7);
    }
    context.textAlign = "right";
    context.textBaseline = "alphabetic";
    context.fillText("MB/s", MARGIN.left - 8, 12);
    context.fillText("seconds", right, 12);

    context.lineJoin = "round";
    for (const { color: name, points } of this.#series) {
      if (points.length === 0) continue;
      const path = points.map(([time, rate]) => [x(time), y(rate)]);
      context.strokeStyle = context.fillStyle = color(name);
      context.lineWidth = 2;
      line(context, path);
      context.globalAlpha = 0.12;
      context.beginPath();
      path.forEach(([px, py]) => context.lineTo(px, py));
      context.lineTo(path.at(-1)[0], bottom);
      context.lineTo(path[0][0], bottom);
      context.fill();
      context.globalAlpha = 1;
    }
    if (points.length === 0) {
      context.fillStyle = color("--muted");
      context.textAlign = "center";
      context.fillText("Start a test to see it here.", (MARGIN.left + right) / 2, (MARGIN.top + bottom) / 2);
    }
  }
}

function line(context, path) {
  context.beginPath();
  path.forEach(([px, py]) => context.lineTo(px, py));
  context.stroke();
}

/** Round numbers from 0 to the first one that is not below `max`, about `count` of them. */
function steps(max, count) {
  const rough = max / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough);
  return Array.from({ length: Math.ceil(max / step) + 1 }, (_, index) => index * step);
}

function label(value) {
  return Number(value.toPrecision(6)).toString();
}
