#include "pipeline/graph/document.h"

#include <string>

#include <gtest/gtest.h>

#include "pipeline/graph/suggest.h"

namespace trib::pipeline::test {
namespace {

std::string problems_of(std::string_view text) {
  Diagnostics diagnostics;
  parse_document(text, "f.yaml", diagnostics);
  std::string all;
  for (const Problem& problem : diagnostics.sorted()) all += problem.text() + "\n";
  return all;
}

DocumentValue parse(std::string_view text) {
  Diagnostics diagnostics;
  const auto value = parse_document(text, "f.yaml", diagnostics);
  EXPECT_TRUE(diagnostics.empty()) << problems_of(text);
  return value.value_or(DocumentValue{});
}

TEST(Document, KeepsMarksTextAndQuotes) {
  const DocumentValue root = parse("a: 1\nb:\n  - x\n  - \"2\"\nc: {d: null, e: ~}\nf:\n");
  EXPECT_EQ(root.find("a")->text, "1");
  EXPECT_FALSE(root.find("a")->quoted);
  EXPECT_EQ(root.find("a")->mark.text(), "f.yaml:1:4");
  ASSERT_EQ(root.find("b")->items.size(), 2U);
  EXPECT_EQ(root.find("b")->items[1].text, "2");
  EXPECT_TRUE(root.find("b")->items[1].quoted);
  EXPECT_EQ(root.find("b")->items[1].mark.text(), "f.yaml:4:5");
  EXPECT_TRUE(root.find("c")->find("d")->is_null());
  EXPECT_TRUE(root.find("c")->find("e")->is_null());
  EXPECT_TRUE(root.find("f")->is_null());
  EXPECT_EQ(root.entries[2].key_mark.text(), "f.yaml:5:1");
  EXPECT_EQ(root.find("nothing"), nullptr);
}

TEST(Document, RefusesBytesThatAreNoText) {
  EXPECT_EQ(problems_of("a: 1\nb: \"\xC3(\"\n"),
            "f.yaml:2:5: byte 0xc3 is no UTF-8, as which YAML is written\n");
  EXPECT_EQ(problems_of("\x80"), "f.yaml:1:1: byte 0x80 is no UTF-8, as which YAML is written\n");
  EXPECT_EQ(parse("a: \"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x8C\x8D\"\n").find("a")->text.size(), 9U);
}

TEST(Document, ReportsEveryDuplicateWithBothPlaces) {
  EXPECT_EQ(problems_of("a: 1\nnodes:\n  t: {patch: 1, x: 2, patch: 3}\n  t: {}\na: 2\n"),
            "f.yaml:3:23: key 'nodes.t.patch' is given twice, first at f.yaml:3:7\n"
            "f.yaml:4:3: key 'nodes.t' is given twice, first at f.yaml:3:3\n"
            "f.yaml:5:1: key 'a' is given twice, first at f.yaml:1:1\n");
}

TEST(Document, CountsColumnsInCharacters) {
  const DocumentValue root = parse("{größe: 1, 温度: 2, z: 3}");
  EXPECT_EQ(root.find("größe")->mark.text(), "f.yaml:1:9");
  EXPECT_EQ(root.find("温度")->mark.text(), "f.yaml:1:16");
  EXPECT_EQ(root.find("z")->mark.text(), "f.yaml:1:22");
}

TEST(Document, ReadsWindowsFiles) {
  const DocumentValue root = parse(
      "\xEF\xBB\xBF"
      "a: 1\r\nb: é\r\nc: {é: 2, d: 3}\r\n");
  EXPECT_EQ(root.find("a")->mark.text(), "f.yaml:1:4");
  EXPECT_EQ(root.find("b")->text, "é");
  EXPECT_EQ(root.find("c")->find("d")->mark.text(), "f.yaml:3:14");
}

TEST(Document, ResolvesAnchorsAndMergeKeys) {
  const DocumentValue root = parse(R"(base: &base {x: 1, y: 2}
more: &more {y: 3, z: 4}
copy: *base
one: {<<: *base, y: 5}
two:
  <<: [*base, *more]
  w: 6
)");
  EXPECT_EQ(root.find("copy")->find("x")->text, "1");
  EXPECT_EQ(root.find("one")->find("x")->text, "1");
  EXPECT_EQ(root.find("one")->find("y")->text, "5");
  EXPECT_EQ(root.find("two")->find("y")->text, "2");
  EXPECT_EQ(root.find("two")->find("z")->text, "4");
  EXPECT_EQ(root.find("two")->find("<<"), nullptr);
  EXPECT_EQ(problems_of("a: {<<: 3}"), "f.yaml:1:9: '<<' merges mappings, this is '3'\n");
  EXPECT_EQ(problems_of("a: &a [*a]"), "f.yaml:1:8: alias refers to the value it is part of\n");
}

TEST(Document, ReportsSyntaxErrorsWithTheirPlace) {
  EXPECT_EQ(problems_of("a: [1, 2\nb: 3\n"),
            "f.yaml:2:2: not YAML: end of sequence flow not found\n");
  EXPECT_EQ(problems_of("a: {b: 1\n"), "f.yaml:2:1: not YAML: end of map flow not found\n");
  EXPECT_EQ(problems_of("a: *nobody"),
            "f.yaml:1:4: not YAML: the referenced anchor is not defined\n");
  EXPECT_EQ(problems_of("a: 1\n\tb: 2\n"),
            "f.yaml:2:1: not YAML: illegal tab when looking for indentation; indent with spaces, "
            "not tabs\n");
  EXPECT_EQ(problems_of("a:\n\tb: {c: d}\n"),
            "f.yaml:2:3: not YAML: illegal map value; indent with spaces, not tabs\n");
  EXPECT_EQ(problems_of("a: 1\n---\nb: 2\n"),
            "f.yaml:3:1: a file holds one document, this begins a second\n");
  EXPECT_EQ(problems_of("[a]: 1"), "f.yaml:1:1: a key must be plain text, this is a list\n");
}

TEST(Document, BoundsWhatAliasesUnfoldTo) {
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i <= 9; ++i) {
    const std::string last = "*a" + std::to_string(i - 1);
    const std::string name = "a" + std::to_string(i);
    text += name + ": &" + name + " [" + last;
    for (int j = 0; j < 9; ++j) text += ", " + last;
    text += "]\n";
  }
  EXPECT_NE(problems_of(text).find("aliases unfold to more than 1000000 values"),
            std::string::npos);
  EXPECT_NE(problems_of(std::string(10'000, '[')), "");
}

TEST(Document, EmptyTextIsNull) {
  EXPECT_TRUE(parse("").is_null());
  EXPECT_TRUE(parse("# nothing\n").is_null());
  EXPECT_EQ(parse("").mark.text(), "f.yaml:1:1");
}

TEST(Suggest, CountsEdits) {
  EXPECT_EQ(edit_distance("patch", "patch"), 0U);
  EXPECT_EQ(edit_distance("", "abc"), 3U);
  EXPECT_EQ(edit_distance("abc", ""), 3U);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
  EXPECT_EQ(edit_distance("ptach", "patch"), 1U);
  EXPECT_EQ(edit_distance("PATCH", "patch"), 0U);
}

TEST(Suggest, FindsTheNearestOrNothing) {
  const std::vector<std::string> types{"model.encoder", "model.tokenize", "read.cube", "batch"};
  EXPECT_EQ(closest("encoder", types), "model.encoder");
  EXPECT_EQ(closest("model.encodr", types), "model.encoder");
  EXPECT_EQ(closest("bacth", types), "batch");
  EXPECT_EQ(closest("zzz", types), "");
  EXPECT_EQ(closest("", types), "");
  EXPECT_EQ(did_you_mean("bach", types), "; did you mean 'batch'?");
  EXPECT_EQ(did_you_mean("zzz", types), "");
}

}  // namespace
}  // namespace trib::pipeline::test
