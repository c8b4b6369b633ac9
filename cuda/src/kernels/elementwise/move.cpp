#include "move.h"

namespace figment::cuda::elementwise {
namespace {

int widthOf(Format format) { return int(formatBytes(format)); }

std::string vectorSuffix(int count) { return count == 1 ? "" : "v" + std::to_string(count) + "."; }
std::string list(const std::vector<std::string>& names) {
  if (names.size() == 1) return names[0];
  std::string braced = "{";
  for (const std::string& name : names) braced += (braced.size() > 1 ? ", " : "") + name;
  return braced + "}";
}

I32 joined(const I32& low, const I32& high) {
  Text& text = Text::current();
  return I32(text.compute(
      Kind::whole,
      {"prmt.b32 $0, $1, $2, 0x5410;", "int32_t((uint32_t($1) & 65535u) | uint32_t($2) << 16)"},
      {low.text, high.text}));
}

}  // namespace

I32 loadElement(Format format, int operand, const U64& address) {
  Text& text = Text::current();
  const std::string number = std::to_string(operand);
  Form form;
  switch (format) {
    case Format::f32:
    case Format::i32:
      form = {"ld.global.b32 $0, [$1];", "views[$2].load<int32_t>(int64_t($1))"};
      break;
    case Format::bf16:
    case Format::f16:
      form = {"ld.global.u16 $0, [$1];", "int32_t(views[$2].load<uint16_t>(int64_t($1)))"};
      break;
    case Format::i64:
      // The lower word, as the machine's order of bytes has it.
      form = {"ld.global.b32 $0, [$1];", "int32_t(views[$2].load<int64_t>(int64_t($1)))"};
      break;
    case Format::i8:
      form = {"ld.global.s8 $0, [$1];", "int32_t(views[$2].load<int8_t>(int64_t($1)))"};
      break;
    default:
      form = {"ld.global.u8 $0, [$1];", "int32_t(views[$2].load<uint8_t>(int64_t($1)))"};
  }
  return I32(text.compute(Kind::whole, form, {address.text, number}));
}

void storeElement(Format format, int operand, const U64& address, const I32& bits) {
  Text& text = Text::current();
  const std::string number = std::to_string(operand);
  Form form;
  switch (widthOf(format)) {
    case 4:
      form = {"st.global.b32 [$1], $3;", "views[$2].store<int32_t>(int64_t($1), $3);"};
      break;
    case 2:
      form = {"st.global.b16 [$1], $3;", "views[$2].store<uint16_t>(int64_t($1), uint16_t($3));"};
      break;
    case 8:
      form = {"{ .reg .b64 w; cvt.s64.s32 w, $3; st.global.b64 [$1], w; }",
              "views[$2].store<int64_t>(int64_t($1), int64_t($3));"};
      break;
    default:
      form = {"st.global.b8 [$1], $3;", "views[$2].store<uint8_t>(int64_t($1), uint8_t($3));"};
  }
  text.perform(form, {address.text, number, bits.text});
}

std::vector<I32> loadWords(int operand, const U64& address, int count) {
  Text& text = Text::current();
  const std::string view = "views[" + std::to_string(operand) + "].load<";
  std::vector<I32> words;
  for (int done = 0; done < count;) {
    const int take = count - done >= 4 ? 4 : count - done >= 2 ? 2 : 1;
    const std::string at = std::to_string(4 * done);
    std::vector<std::string> names;
    for (int i = 0; i < take; i++) names.push_back(text.fresh(Kind::whole));
    if (text.isPtx()) {
      text.line("ld.global." + vectorSuffix(take) + "b32 " + list(names) + ", [" + address.text +
                "+" + at + "];");
    } else {
      const std::string index = ">(int64_t(" + address.text + ") + " + at + ");";
      if (take == 1) {
        text.line("int32_t " + names[0] + " = " + view + "int32_t" + index);
      } else {
        const std::string vector = "v" + names[0];
        text.line("const int" + std::to_string(take) + " " + vector + " = " + view + "int" +
                  std::to_string(take) + index);
        for (int i = 0; i < take; i++)
          text.line("int32_t " + names[size_t(i)] + " = " + vector + "." + "xyzw"[i] + ";");
      }
    }
    for (const std::string& name : names) words.push_back(I32(name));
    done += take;
  }
  return words;
}

void storeWords(int operand, const U64& address, const std::vector<I32>& words) {
  Text& text = Text::current();
  for (size_t done = 0; done < words.size();) {
    const size_t left = words.size() - done;
    const size_t take = left >= 4 ? 4 : left >= 2 ? 2 : 1;
    const std::string at = std::to_string(4 * done);
    std::vector<std::string> names;
    for (size_t i = 0; i < take; i++) names.push_back(words[done + i].text);
    if (text.isPtx()) {
      text.line("st.global." + vectorSuffix(int(take)) + "b32 [" + address.text + "+" + at + "], " +
                list(names) + ";");
    } else {
      const std::string index = "(int64_t(" + address.text + ") + " + at + ", ";
      const std::string type = take == 1 ? "int32_t" : "int" + std::to_string(take);
      text.line("views[" + std::to_string(operand) + "].store<" + type + ">" + index +
                (take == 1 ? names[0] : type + list(names)) + ");");
    }
    done += take;
  }
}

std::vector<I32> unpack(Format format, const std::vector<I32>& words) {
  const int width = widthOf(format);
  if (width == 4) return words;
  std::vector<I32> elements;
  for (const I32& word : words) {
    if (width == 2) {
      elements.push_back(word & I32(0xffff));
      elements.push_back(shr(word, 16));
      continue;
    }
    for (int i = 0; i < 4; i++) {
      const I32 up = i == 3 ? word : shl(word, 24 - 8 * i);
      elements.push_back(format == Format::i8 ? sar(up, 24) : shr(up, 24));
    }
  }
  return elements;
}
std::vector<I32> pack(Format format, const std::vector<I32>& elements) {
  Text& text = Text::current();
  const int width = widthOf(format);
  if (width == 4) return elements;
  std::vector<I32> words;
  const size_t perWord = size_t(4 / width);
  for (size_t i = 0; i < elements.size(); i += perWord) {
    if (width == 2) {
      words.push_back(joined(elements[i], elements[i + 1]));
      continue;
    }
    const auto pair = [&](size_t at) {
      return I32(text.compute(Kind::whole,
                              {"prmt.b32 $0, $1, $2, 0x0040;",
                               "int32_t((uint32_t($1) & 255u) | (uint32_t($2) & 255u) << 8)"},
                              {elements[at].text, elements[at + 1].text}));
    };
    const I32 low = pair(i), high = pair(i + 2);
    words.push_back(joined(low, high));
  }
  return words;
}
}  // namespace figment::cuda::elementwise
