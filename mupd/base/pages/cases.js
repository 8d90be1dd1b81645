(function () {
  "use strict";
  var box = document.getElementById("search");
  var count = document.getElementById("count");
  var items = Array.prototype.slice.call(document.querySelectorAll("[data-search]"));
  var buttons = Array.prototype.slice.call(document.querySelectorAll("[data-only]"));
  var only = "all";
  function show() {
    var words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    var shown = 0;
    items.forEach(function (item) {
      var text = item.getAttribute("data-search");
      var kinds = item.getAttribute("data-kinds").split(" ");
      var fits = (only === "all" || kinds.indexOf(only) >= 0) &&
        words.every(function (word) { return text.indexOf(word) >= 0; });
      item.hidden = !fits;
      if (fits && item.hasAttribute("data-counted")) { shown += 1; }
    });
    count.textContent = shown + (shown === 1 ? " case" : " cases");
  }
  buttons.forEach(function (button) {
    button.addEventListener("click", function () {
      only = button.getAttribute("data-only");
      buttons.forEach(function (other) { other.setAttribute("aria-pressed", String(other === button)); });
      show();
    });
  });
  box.addEventListener("input", show);
  document.getElementById("tools").hidden = false;
  show();
})();
