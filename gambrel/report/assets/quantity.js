// A number with its unit, as people read it: four digits that count.
const quantity = (value, unit) => {
  if (!Number.isFinite(value)) return "–";
  const digits = (number) => Number(number.toPrecision(4));
  if (unit === "count" || unit === "USD/h") return digits(value).toLocaleString("en") + (unit === "count" ? "" : ` ${unit}`);
  if (value === 0) return `0 ${unit}`;
  const steps = ["p", "n", "µ", "m", "", "k", "M", "G", "T", "P", "E"];
  const step = Math.max(0, Math.min(steps.length - 1, Math.floor(Math.log10(Math.abs(value)) / 3) + 4));
  return `${digits(value / 10 ** (3 * (step - 4)))} ${steps[step]}${unit}`;
};
