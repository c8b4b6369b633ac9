// What packages export, read from the declaration files (*.d.ts) that the compiler emits.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseSync } from "rolldown/utils";
import { root } from "../lib.mjs";

/**
 * The packages in a folder that export anything: name, description, the packages that they pass on whole, and entries in
 * alphabetical order, each { name, kind, declarations }.
 */
export function packagesIn(folder) {
  return readdirSync(folder).flatMap((directory) => {
    const file = join(folder, directory, "package.json");
    if (!existsSync(file)) return [];
    const { name, description, exports } = JSON.parse(readFileSync(file, "utf8"));
    const types = exports?.["."]?.types;
    if (types === undefined) return [];
    const passedOn = new Set();
    const entries = [...exportsOf(join(folder, directory, types), passedOn)].map(([exported, declarations]) => ({
      name: exported,
      kind: kindOf(declarations),
      declarations,
    }));
    entries.sort((a, b) => (a.name.toLowerCase() < b.name.toLowerCase() ? -1 : 1));
    return [{ name, description, page: `${directory}.md`, passedOn: [...passedOn], entries }];
  });
}

const modules = new Map();

/** A parsed declaration file: its text, statements, documentation comments, and declarations by local name. */
function moduleAt(file) {
  const known = modules.get(file);
  if (known) return known;
  const text = readFileSync(file, "utf8");
  const { program, comments, errors } = parseSync(file, text);
  if (errors.length > 0) throw new Error(`${file}: ${errors[0].message}`);
  const made = { file, text, comments: comments.filter(({ value }) => value.startsWith("*")), body: program.body };
  made.locals = new Map();
  for (const statement of program.body) {
    const node = statement.type === "ExportNamedDeclaration" ? statement.declaration : statement;
    for (const name of namesOf(node)) {
      const declarations = made.locals.get(name) ?? [];
      made.locals.set(name, [...declarations, { module: made, node, start: statement.start }]);
    }
  }
  modules.set(file, made);
  return made;
}

function namesOf(node) {
  if (node?.type === "VariableDeclaration") return node.declarations.map(({ id }) => id.name);
  return node?.id?.name && !node.type.startsWith("Import") ? [node.id.name] : [];
}

/** Names that a file exports, with their declarations; other packages that it exports whole are added to `passedOn`. */
function exportsOf(file, passedOn) {
  const found = new Map();
  const module = moduleAt(file);
  for (const statement of module.body) {
    const source = statement.source?.value;
    // Imports need not be of packages of ours.
    const target = source && statement.type !== "ImportDeclaration" ? targetOf(file, source) : undefined;
    if (statement.type === "ExportAllDeclaration") {
      if (!source.startsWith(".")) passedOn.add(source);
      else for (const [name, declarations] of exportsOf(target, passedOn)) found.set(name, declarations);
    } else if (statement.type === "ExportNamedDeclaration") {
      for (const name of namesOf(statement.declaration)) found.set(name, module.locals.get(name));
      for (const { local, exported } of statement.specifiers ?? [])
        found.set(exported.name, resolve(module, target, local.name, passedOn));
    }
  }
  return found;
}

/** The declaration file that a file's import of a module means; packages of this repository lie in node_modules too. */
function targetOf(file, source) {
  if (source.startsWith(".")) return join(dirname(file), source.replace(/\.js$/, ".d.ts"));
  const folder = join(root, "node_modules", source);
  const { exports } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  return join(folder, exports["."].types);
}

/** The declarations of a name that is exported from another file, or from this one under a name of its own. */
function resolve(module, target, name, passedOn) {
  if (target !== undefined) return exportsOf(target, passedOn).get(name) ?? [];
  const local = module.locals.get(name);
  if (local) return local;
  for (const { type, source, specifiers } of module.body) {
    if (type !== "ImportDeclaration") continue;
    const specifier = specifiers.find((one) => one.local.name === name);
    if (specifier)
      return exportsOf(targetOf(module.file, source.value), passedOn).get(specifier.imported?.name ?? name) ?? [];
  }
  return [];
}

function kindOf(declarations) {
  const types = new Set(declarations.map(({ node }) => node.type));
  if (types.has("ClassDeclaration")) return "class";
  if (types.has("TSDeclareFunction")) return "function";
  if (!types.has("VariableDeclaration")) return "type";
  return declarations.some(({ module, node }) => /=>/.test(module.text.slice(node.start, node.end)))
    ? "function"
    : "constant";
}

/** The documentation comment that ends right before a place of a file, without its stars; "" for none. */
export function commentBefore({ text, comments }, start) {
  const comment = comments.find(({ end }) => end <= start && text.slice(end, start).trim() === "");
  return comment
    ? comment.value
        .slice(1)
        .replace(/^[ \t]*\* ?/gm, "")
        .trim()
    : "";
}

/** The source text of a node without the comments inside. */
export function textOf({ text, comments }, { start, end }) {
  let result = "";
  let at = start;
  for (const comment of comments) {
    if (comment.start < start || comment.end > end) continue;
    result += text.slice(at, comment.start).trimEnd();
    at = comment.end;
  }
  return result + text.slice(at, end);
}
