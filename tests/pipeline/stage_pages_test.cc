// The documentation against the program: stage pages, their examples, graphs and links.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pipeline/graph/graph_definition.h"
#include "pipeline/graph/stage_help.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"
#include "tests/support/temp_dir.h"

namespace trib::pipeline {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const fs::path kRoot = TRIB_SOURCE_DIR;
const fs::path kPages = kRoot / "docs/stages";

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path << " cannot be read";
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<fs::path> files_in(const fs::path& folder, const std::string& extension) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == extension) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  EXPECT_FALSE(files.empty()) << "no *" << extension << " in " << folder;
  return files;
}

/// A page cut at its markers; the parts are empty where a marker is missing.
struct Page {
  std::string generated, by_hand;
};

Page page_of(const std::string& type) {
  const std::string begin = "<!-- begin generated -->\n";
  const std::string end = "<!-- end generated -->\n";
  const std::string text = text_of(kPages / (type + ".md"));
  const std::size_t from = text.find(begin);
  const std::size_t to = text.find(end);
  if (from == std::string::npos || to == std::string::npos || to < from) return {};
  const std::size_t start = from + begin.size();
  return {text.substr(start, to - start), text.substr(to + end.size())};
}

/// The contents of a Markdown text's ```yaml blocks.
std::vector<std::string> yaml_blocks(const std::string& text) {
  std::vector<std::string> blocks;
  const std::string fence = "```yaml\n";
  for (std::size_t at = text.find(fence); at != std::string::npos; at = text.find(fence, at)) {
    at += fence.size();
    const std::size_t end = text.find("```", at);
    blocks.push_back(text.substr(at, end - at));
    at = end;
  }
  return blocks;
}

class StagePagesTest : public testing::Test {
 protected:
  StagePagesTest() { register_builtin_stages(registry_); }

  /// Load a graph that stands in a page.
  GraphDefinition load_text(const std::string& yaml) const {
    const std::string path = temp_.file("example.yaml");
    std::ofstream(path) << yaml;
    return load_graph(path, {}, registry_);
  }

  Registry registry_;
  test::TempDir temp_;
};

TEST_F(StagePagesTest, EveryStageHasAPageThatSaysWhatTheProgramSays) {
  for (const StageDeclaration* stage : registry_.all()) {
    EXPECT_EQ(page_of(stage->type).generated, stage_markdown(*stage))
        << "docs/stages/" << stage->type << ".md is not up to date: run docs/update_stages.sh";
  }
}

TEST_F(StagePagesTest, EveryPageBelongsToAStage) {
  for (const fs::path& page : files_in(kPages, ".md")) {
    const std::string type = page.stem();
    EXPECT_NE(registry_.find(type), nullptr) << page;
    EXPECT_TRUE(text_of(page).starts_with("# " + type + "\n")) << page;
  }
}

TEST_F(StagePagesTest, EveryPageHasNotesAnExampleAndLinks) {
  constexpr std::size_t kLeastNotes = 200;
  for (const StageDeclaration* stage : registry_.all()) {
    SCOPED_TRACE(stage->type);
    const std::string by_hand = page_of(stage->type).by_hand;
    const std::size_t notes = by_hand.find("## Notes\n");
    const std::size_t example = by_hand.find("## Example\n");
    const std::size_t see_also = by_hand.find("## See also\n");
    ASSERT_TRUE(notes < example && example < see_also && see_also != std::string::npos)
        << "expected the sections Notes, Example and See also, in this order";
    EXPECT_GE(example - notes, kLeastNotes) << "the notes are too short";
    EXPECT_THAT(by_hand.substr(see_also), HasSubstr(".md)"));
  }
}

TEST_F(StagePagesTest, EveryPageHasAnExampleOfItsStageThatLoads) {
  for (const StageDeclaration* stage : registry_.all()) {
    SCOPED_TRACE(stage->type);
    const std::vector<std::string> blocks = yaml_blocks(page_of(stage->type).by_hand);
    bool used = false;
    for (const std::string& block : blocks) {
      GraphDefinition graph;
      ASSERT_NO_THROW(graph = load_text(block)) << block;
      used = used || std::any_of(graph.nodes.begin(), graph.nodes.end(),
                                 [&](const NodeDefinition& n) { return n.type() == stage->type; });
    }
    EXPECT_TRUE(used) << "no example uses the stage";
  }
}

TEST_F(StagePagesTest, EveryGraphLoadsWithoutWarnings) {
  for (const fs::path& path : files_in(kRoot / "graphs", ".yaml")) {
    GraphDefinition graph;
    ASSERT_NO_THROW(graph = load_graph(path, {}, registry_));
    EXPECT_EQ(graph.name(), path.stem());
    EXPECT_THAT(graph.warnings, testing::IsEmpty()) << path;
  }
}

TEST_F(StagePagesTest, EveryGraphInTheGuidesLoads) {
  fs::create_directory_symlink(kRoot / "graphs", temp_.file("graphs"));  // for `extends`
  for (const char* guide : {"README.md", "docs/graphs.md"}) {
    for (const std::string& block : yaml_blocks(text_of(kRoot / guide))) {
      if (block.find("nodes:") == std::string::npos) continue;  // a fragment
      EXPECT_NO_THROW(load_text(block)) << guide << ":\n" << block;
    }
  }
}

TEST(Docs, LinksLeadToFiles) {
  std::vector<fs::path> documents = files_in(kPages, ".md");
  for (const fs::path& page : files_in(kRoot / "docs", ".md")) documents.push_back(page);
  documents.push_back(kRoot / "README.md");
  const std::regex link(R"(\]\(([^)#\s]+)(#[^)]*)?\))");
  int links = 0;
  for (const fs::path& document : documents) {
    const std::string text = text_of(document);
    for (std::sregex_iterator at(text.begin(), text.end(), link), end; at != end; ++at) {
      const std::string target = (*at)[1];
      if (target.find("://") != std::string::npos) continue;
      EXPECT_TRUE(fs::exists(document.parent_path() / target)) << document << ": " << target;
      ++links;
    }
  }
  EXPECT_GT(links, 16);
}

}  // namespace
}  // namespace trib::pipeline
