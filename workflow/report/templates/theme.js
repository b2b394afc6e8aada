try { document.documentElement.dataset.theme = localStorage.getItem("lmm-theme") || ""; } catch { /* a file may have no storage */ }
