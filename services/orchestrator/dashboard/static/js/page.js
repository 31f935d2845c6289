// What every page has: the theme's toggle.

import { $ } from "./dom.js";

const root = document.documentElement;
const prefersDark = matchMedia("(prefers-color-scheme: dark)");

const shownTheme = () => root.dataset.theme ?? (prefersDark.matches ? "dark" : "light");

function label(button) {
  const other = shownTheme() === "dark" ? "light" : "dark";
  button.setAttribute("aria-label", `Theme: switch to ${other}`);
  button.title = `Switch to the ${other} theme`;
}

function toggle(button) {
  const theme = shownTheme() === "dark" ? "light" : "dark";
  root.dataset.theme = theme;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // No storage: it holds for this page.
  }
  label(button);
}

const button = $("#theme");
if (button) {
  label(button);
  button.addEventListener("click", () => toggle(button));
  prefersDark.addEventListener("change", () => label(button));
}
