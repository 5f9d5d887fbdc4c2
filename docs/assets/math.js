// formulas between \( \) and \[ \], as arithmatex leaves them; again after each page that loads without a reload
document$.subscribe(({ body }) => {
  renderMathInElement(body, {
    delimiters: [
      { left: "\\(", right: "\\)", display: false },
      { left: "\\[", right: "\\]", display: true },
    ],
  })
  // notebooks keep the dollars
  body.querySelectorAll(".jupyter-wrapper .jp-RenderedMarkdown").forEach((cell) =>
    renderMathInElement(cell, {
      delimiters: [
        { left: "$$", right: "$$", display: true },
        { left: "$", right: "$", display: false },
      ],
    }),
  )
})
