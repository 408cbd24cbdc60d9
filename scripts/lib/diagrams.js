// Draws the diagrams of a page of the book.
for (const code of document.querySelectorAll('code.language-mermaid')) {
    const diagram = document.createElement('pre');
    diagram.className = 'mermaid';
    diagram.textContent = code.textContent;
    code.parentElement.replaceWith(diagram);
}
mermaid.initialize({ startOnLoad: false });
mermaid.run();
