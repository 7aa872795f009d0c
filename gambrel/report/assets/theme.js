"use strict";
// The system's theme, until the reader chooses; on paper the light one. What draws hears of changes by the event `theme`.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  const apply = (forced) => {
    root.dataset.theme = forced || chosen || (system.matches ? "dark" : "light");
    root.dispatchEvent(new Event("theme"));
  };
  document.getElementById("theme").addEventListener("click", () => {
    chosen = root.dataset.theme === "dark" ? "light" : "dark";
    apply();
  });
  system.addEventListener("change", () => apply());
  addEventListener("beforeprint", () => apply("light"));
  addEventListener("afterprint", () => apply());
  apply();
})();
