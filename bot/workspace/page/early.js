// Before the first paint: the chosen colours, so that a dark page never flashes white.
try {
  const theme = JSON.parse(localStorage.getItem("workspace.theme"));
  if (theme) document.documentElement.dataset.theme = theme;
} catch { /* without storage the system decides */ }
