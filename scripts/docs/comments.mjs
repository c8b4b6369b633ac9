// Documentation comments (TSDoc) as Markdown.

/** A comment's text and its block tags, in order. Tags inside examples, such as decorators, are left alone. */
function partsOf(comment) {
  const [text = "", ...rest] = comment.split(/^@(?=(?:param|returns|throws|example|typeParam|internal|deprecated)\b)/m);
  const tags = rest.map((part) => {
    const [, tag, body] = /^(\w+)\s*([\s\S]*)$/.exec(part);
    return { tag, body: body.trimEnd() };
  });
  return { text: text.trim(), tags };
}

/** Whether a declaration is not for users. */
export const isInternal = (comment) => partsOf(comment).tags.some(({ tag }) => tag === "internal");

const labels = { returns: "Returns", throws: "Throws", deprecated: "Deprecated" };
const oneLine = (text) => text.replace(/\s*\n\s*/g, " ");

/** Markdown of a comment. `link` gives that of a name that the comment links to. */
export function render(comment, link) {
  const { text, tags } = partsOf(comment);
  const inline = (body) =>
    body.replace(/\{@link ([^}\s|]+)(?:[\s|]+([^}]*))?\}/g, (_, name, words) => link(name, words));
  const parameters = tags.filter(({ tag }) => tag === "param" || tag === "typeParam");
  const blocks = [inline(text)];
  if (parameters.length > 0)
    blocks.push(
      parameters.map(({ body }) => `- ${inline(oneLine(body)).replace(/^[\w.]+(, [\w.]+)*/, "`$&`")}`).join("\n"),
    );
  for (const { tag, body } of tags) {
    if (labels[tag]) blocks.push(`**${labels[tag]}** ${inline(oneLine(body))}`);
    if (tag === "example") blocks.push(`\`\`\`ts\n${body}\n\`\`\``);
  }
  return blocks.filter((block) => block !== "").join("\n\n");
}
