/** Single keys as shortcuts of a page; they keep quiet where somebody writes. */

const WRITING = "input, textarea, select, [contenteditable], dialog";

/** `actions`: key → function. With a modifier held the key is the browser's. */
export function onKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.key !== "Escape" && event.target.closest?.(WRITING)) return;
    const action = actions[event.key];
    if (action === undefined) return;
    if (action() !== false) event.preventDefault();
  });
}
