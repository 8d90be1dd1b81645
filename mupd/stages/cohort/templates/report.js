(function () {
  "use strict";
  var box = document.getElementById("find");
  var tools = document.getElementById("tools");
  var count = document.getElementById("found");
  var items = Array.prototype.slice.call(document.querySelectorAll("[data-search]"));
  var buttons = Array.prototype.slice.call(document.querySelectorAll("[data-only]"));
  var only = "all";
  function show() {
    var words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    var sections = 0;
    items.forEach(function (item) {
      var text = item.getAttribute("data-search");
      var fits = words.every(function (word) { return text.indexOf(word) >= 0; }) &&
        (only === "all" || item.hasAttribute("data-" + only));
      item.hidden = !fits;
      if (fits && item.tagName === "TR") { sections += 1; }
    });
    count.textContent = sections + (sections === 1 ? " case" : " cases");
  }
  buttons.forEach(function (button) {
    button.addEventListener("click", function () {
      only = button.getAttribute("data-only");
      buttons.forEach(function (other) { other.setAttribute("aria-pressed", String(other === button)); });
      show();
    });
  });
  box.addEventListener("input", show);
  tools.hidden = false;
  show();
})();
