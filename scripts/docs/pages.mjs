// Pages of the reference.

import { isInternal, render } from "./comments.mjs";
import { commentBefore, textOf } from "./declarations.mjs";

const headings = { class: "Classes", function: "Functions", constant: "Constants", type: "Types" };
/** Signatures longer than a line of this many characters are broken. */
const lineWidth = 110;

/** The first page: the packages. */
export function indexPage(packages) {
  const lines = packages.map(
    ({ name, page, description, entries }) => `- [${name}](${page}): ${description}. ${entries.length} entries.`,
  );
  return `# API reference\n\nWritten by \`npm run docs\` from the documentation comments of the sources.\n\n${lines.join("\n")}\n`;
}

/** The page of one package. `pageOf` knows the page of every entry of all packages. */
export function packagePage({ name, description, page, passedOn, entries }, pageOf) {
  const link = (target, words) => {
    const [entry] = target.split(/[.#]/);
    const shown = words?.trim() || target;
    const at = entries.some((one) => one.name === entry) ? page : pageOf.get(entry);
    return at === undefined ? `\`${shown}\`` : `[${shown}](${at === page ? "" : at}#${entry})`;
  };
  const parts = [`# ${name}`, `${description}.`];
  if (passedOn.length > 0) parts.push(`Exports everything of ${passedOn.map((one) => `\`${one}\``).join(", ")}.`);
  const groups = Object.entries(headings)
    .map(([kind, heading]) => ({ heading, members: entries.filter((entry) => entry.kind === kind) }))
    .filter(({ members }) => members.length > 0);
  for (const { heading, members } of groups)
    parts.push(`**${heading}:** ${members.map((entry) => link(entry.name)).join(" · ")}`);
  for (const { heading, members } of groups)
    parts.push(`## ${heading}`, ...members.map((entry) => entryText(entry, link)));
  return `${parts.join("\n\n")}\n`;
}

function entryText({ name, declarations }, link) {
  const parts = [`<a id="${name}"></a>\n\n### ${name}`];
  for (const { module, node, start } of declarations) {
    const hasMembers = node.type === "ClassDeclaration" || node.type === "TSInterfaceDeclaration";
    const members = hasMembers ? node.body.body : [];
    const head = textOf(module, { start: node.start, end: hasMembers ? node.body.start : node.end });
    // Some names are exported under another: `export { nan as isNaN }`.
    const signature = node.id && node.id.name !== name ? head.replace(node.id.name, name) : head;
    const comment = commentBefore(module, start);
    parts.push(code(tidy(signature)), render(comment, link));
    for (const member of members) {
      const about = commentBefore(module, member.start);
      if (isHidden(member) || isInternal(about)) continue;
      parts.push(
        `- \`${oneLine(tidy(textOf(module, member)))}\`${about === "" ? "" : `\n\n${indent(render(about, link))}`}`,
      );
    }
  }
  return parts.filter((part) => part !== "").join("\n\n");
}

const isHidden = (member) =>
  member.accessibility === "private" || member.key?.type === "PrivateIdentifier" || member.key?.type === "PrivateName";

const tidy = (text) =>
  text
    .replace(/^(export )?(declare )?/, "")
    .replace(/;$/, "")
    .trim();
const oneLine = (text) => text.replace(/\s*\n\s*/g, " ");
const indent = (text) => text.replace(/^(?=.)/gm, "  ");
const code = (text) => `\`\`\`ts\n${text.length > lineWidth ? broken(text) : text}\n\`\`\``;

/** A function's signature with each parameter on a line of its own; other text as it is. */
function broken(text) {
  if (text.includes("\n") || !text.startsWith("function ")) return text;
  const pieces = [""];
  let depth = 0;
  for (const [i, character] of [...text].entries()) {
    const isArrow = character === ">" && text[i - 1] === "=";
    if ("([{<".includes(character)) depth++;
    if (")]}>".includes(character) && !isArrow) depth--;
    if (character === ")" && depth === 0) pieces.push(")");
    else pieces[pieces.length - 1] += character;
    if ((character === "(" && depth === 1) || (character === "," && depth === 1)) pieces.push("");
  }
  return pieces.map((piece, i) => (i === 0 || piece.startsWith(")") ? piece : `  ${piece.trim()}`)).join("\n");
}
