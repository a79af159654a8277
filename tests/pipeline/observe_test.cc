// What a run leaves on disk and tells people.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>

#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "pipeline/observe/metrics.h"
#include "pipeline/observe/progress.h"
#include "pipeline/observe/run_folder.h"
#include "pipeline/observe/trace.h"
#include "tests/support/temp_dir.h"

namespace trib::pipeline {
namespace {

std::string text_of(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

TEST(Metrics, WritesTheSameRowsAsJsonAndCsv) {
  const test::TempDir folder;
  MetricsWriter writer(folder.path(), {"step", "loss", "eval_loss"});
  writer.write({{"step", 1}, {"loss", 0.1}});
  writer.write(
      {{"loss", std::numeric_limits<double>::quiet_NaN()}, {"step", 2e6}, {"eval_loss", -3.5}});
  EXPECT_EQ(text_of(folder.file("metrics.jsonl")),
            "{\"step\":1,\"loss\":0.1}\n{\"step\":2000000,\"loss\":null,\"eval_loss\":-3.5}\n");
  EXPECT_EQ(text_of(folder.file("metrics.csv")), "step,loss,eval_loss\n1,0.1,\n2000000,,-3.5\n");
}

TEST(Metrics, FolderThatIsNotThereIsAnError) {
  EXPECT_THROW(MetricsWriter("/nonexistent/folder", {"step"}), RuntimeError);
}

TEST(RunFolder, NeverOverwritesARun) {
  const test::TempDir root;
  EXPECT_EQ(create_run_folder(root.file("runs"), "mine"), root.file("runs/mine"));
  EXPECT_EQ(create_run_folder(root.file("runs"), "mine"), root.file("runs/mine-2"));
  EXPECT_EQ(create_run_folder(root.file("runs"), "mine"), root.file("runs/mine-3"));
  EXPECT_EQ(create_run_folder_at(root.file("new")), root.file("new"));
  EXPECT_EQ(create_run_folder_at(root.file("new")), root.file("new"));  // still empty
  write_text_file(root.file("new/graph.yaml"), "a");
  EXPECT_THROW(create_run_folder_at(root.file("new")), ConfigError);
  EXPECT_THROW(create_run_folder(root.file("new/graph.yaml"), "x"), RuntimeError);
}

TEST(RunFolder, ReplacesAFileAsAWhole) {
  const test::TempDir root;
  write_text_file(root.file("a.json"), "first, and longer");
  write_text_file(root.file("a.json"), "second");
  EXPECT_EQ(text_of(root.file("a.json")), "second");
  EXPECT_FALSE(std::filesystem::exists(root.file("a.json.tmp")));
  EXPECT_THROW(write_text_file(root.file("no/a.json"), ""), RuntimeError);
}

TEST(Progress, SpeaksInUnitsOfPeople) {
  EXPECT_EQ(format_duration(11.6), "12s");
  EXPECT_EQ(format_duration(200), "3m 20s");
  EXPECT_EQ(format_duration(3725), "1h 02m");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(12.34e6), "12.3 MB");
  EXPECT_EQ(format_bytes(5e15), "5000.0 TB");
}

TEST(Trace, SpansAndCountersAreEvents) {
  const test::TempDir folder;
  trace::enable(3);
  trace::name_thread("test \"thread\"");
  { const trace::Span span("ingest", "crops"); }
  trace::counter("samples in flight", 7);
  trace::write_events(folder.file("part"));
  const std::string text = text_of(folder.file("part"));
  EXPECT_NE(text.find(R"("cat":"ingest","name":"crops")"), std::string::npos);
  EXPECT_NE(text.find(R"("name":"samples in flight","args":{"value":7})"), std::string::npos);
  EXPECT_NE(text.find(R"("name":"test \"thread\"")"), std::string::npos);
  EXPECT_NE(text.find(R"("pid":3)"), std::string::npos);
}

}  // namespace
}  // namespace trib::pipeline
