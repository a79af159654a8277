// What a run leaves on disk and tells people.
#include <chrono>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"
#include "pipeline/observe/metrics.h"
#include "pipeline/observe/progress.h"
#include "pipeline/observe/run_folder.h"
#include "pipeline/observe/sample_log.h"
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

TEST(Metrics, GoOnAfterAStep) {
  const test::TempDir folder;
  const auto row = [](int step) { return MetricsRow{{"step", step}, {"loss", step * 0.1}}; };
  const std::vector<std::string> columns{"step", "loss"};
  {
    MetricsWriter writer(folder.path(), columns);
    for (int step = 0; step <= 12; ++step) writer.write(row(step));
  }
  const std::string jsonl = text_of(folder.file("metrics.jsonl"));
  const std::string csv = text_of(folder.file("metrics.csv"));
  // As a killed run leaves them: lines begun, or not yet in both files.
  std::ofstream(folder.file("metrics.jsonl"), std::ios::app) << "{\"step\":13,\"lo";
  std::ofstream(folder.file("metrics.csv"), std::ios::app) << "1";
  {
    MetricsWriter writer(folder.path(), columns, 9);
    for (int step = 10; step <= 12; ++step) writer.write(row(step));
  }
  EXPECT_EQ(text_of(folder.file("metrics.jsonl")), jsonl);
  EXPECT_EQ(text_of(folder.file("metrics.csv")), csv);
  // Back to the start: the row from before the first step stays.
  { const MetricsWriter writer(folder.path(), columns, 0); }
  EXPECT_EQ(text_of(folder.file("metrics.jsonl")), "{\"step\":0,\"loss\":0}\n");
  EXPECT_EQ(text_of(folder.file("metrics.csv")), "step,loss\n0,0\n");
  EXPECT_FALSE(std::filesystem::exists(folder.file("metrics.csv.tmp")));
  // Without a step they begin anew.
  { const MetricsWriter writer(folder.path(), columns); }
  EXPECT_EQ(text_of(folder.file("metrics.jsonl")), "");
  EXPECT_EQ(text_of(folder.file("metrics.csv")), "step,loss\n");
}

TEST(Metrics, OtherColumnsBeginAnotherCsv) {
  const test::TempDir folder;
  {
    MetricsWriter writer(folder.path(), {"step", "loss"});
    for (int step = 1; step <= 3; ++step) writer.write({{"step", step}, {"loss", 0.5}});
  }
  {
    MetricsWriter writer(folder.path(), {"step", "loss", "eval_loss"}, 2);
    for (int step = 3; step <= 5; ++step) writer.write({{"step", step}, {"eval_loss", 0.5}});
  }
  EXPECT_EQ(text_of(folder.file("metrics.1.csv")), "step,loss\n1,0.5\n2,0.5\n");
  EXPECT_EQ(text_of(folder.file("metrics.csv")), "step,loss,eval_loss\n3,,0.5\n4,,0.5\n5,,0.5\n");
  { const MetricsWriter writer(folder.path(), {"loss", "step"}, 1); }
  EXPECT_EQ(text_of(folder.file("metrics.1.csv")), "step,loss\n1,0.5\n");
  EXPECT_EQ(text_of(folder.file("metrics.2.csv")), "step,loss,eval_loss\n");
  EXPECT_EQ(text_of(folder.file("metrics.csv")), "loss,step\n");
  EXPECT_EQ(text_of(folder.file("metrics.jsonl")), "{\"step\":1,\"loss\":0.5}\n");
}

TEST(Metrics, GoOnInAnEmptyFolderAndAfterAHeaderThatWasCut) {
  const test::TempDir folder;
  { const MetricsWriter writer(folder.path(), {"step", "loss"}, 7); }
  EXPECT_EQ(text_of(folder.file("metrics.csv")), "step,loss\n");
  std::ofstream(folder.file("metrics.csv")) << "step,lo";
  { const MetricsWriter writer(folder.path(), {"step", "loss"}, 7); }
  EXPECT_EQ(text_of(folder.file("metrics.csv")), "step,loss\n");
  EXPECT_FALSE(std::filesystem::exists(folder.file("metrics.1.csv")));
}

TEST(SampleLog, HasALineForEachSampleAndGoesOn) {
  const test::TempDir folder;
  {
    SampleLog log(folder.path(), 0), other(folder.path(), 12);
    log.add(1, {{3, 0, 1, 40, 2}, {4, 0, 0, 7, 0}});
    EXPECT_EQ(text_of(folder.file("samples/rank-00000.csv")),
              "step,position,epoch,source,item,piece\n1,3,0,1,40,2\n1,4,0,0,7,0\n");
    for (std::int64_t step = 2; step <= 11; ++step) log.add(step, {{5, 1, 0, step, 0}});
    other.add(9, {{6, 1, 0, 8, 1}});
    other.add(10, {{7, 1, 0, 8, 2}});
  }
  std::ofstream(folder.file("samples/rank-00012.csv"), std::ios::app) << "1";  // of 11,...
  std::ofstream(folder.file("samples/rank-00003.csv")) << "step,posi";
  continue_sample_logs(folder.path(), 3);
  SampleLog log(folder.path(), 0), third(folder.path(), 3);
  log.add(4, {{8, 1, 0, 9, 0}});
  EXPECT_EQ(text_of(folder.file("samples/rank-00000.csv")),
            "step,position,epoch,source,item,piece\n1,3,0,1,40,2\n1,4,0,0,7,0\n2,5,1,0,2,0\n"
            "3,5,1,0,3,0\n4,8,1,0,9,0\n");
  EXPECT_EQ(text_of(folder.file("samples/rank-00003.csv")),
            "step,position,epoch,source,item,piece\n");
  EXPECT_EQ(text_of(folder.file("samples/rank-00012.csv")),
            "step,position,epoch,source,item,piece\n");
  continue_sample_logs(folder.file("no run"), 3);  // nothing to cut
  write_text_file(folder.file("file"), "");
  EXPECT_THROW(SampleLog(folder.file("file"), 0), RuntimeError);
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

TEST(Trace, ADiskThatIsFullIsToldWithItsFile) {
  try {
    trace::write_events("/dev/full");
    FAIL();
  } catch (const RuntimeError& error) {
    EXPECT_STREQ(error.what(), "/dev/full: cannot be written: No space left on device");
  }
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

TEST(Trace, CollectivesNeverOverlapOnATrack) {
  const test::TempDir folder;
  trace::enable(3);
  const auto now = std::chrono::steady_clock::now();
  const auto at = [&](int us) { return now + std::chrono::microseconds(us); };
  // In the order in which they end, as they are reported. The second begins as the first ends; the
  // third is longer than both; the fourth lies inside it.
  const auto record = [&](ops::MeshAxis axis, int start, int end, std::int64_t bytes) {
    trace::collective({.collective = ops::Collective::all_gather,
                       .axis = axis,
                       .phase = ops::Phase::forward,
                       .bytes = bytes,
                       .submitted = at(start - 7),
                       .started = at(start),
                       .finished = at(end),
                       .waited = std::chrono::microseconds(3)});
  };
  record(ops::MeshAxis::shard, 10, 20, 1);
  record(ops::MeshAxis::shard, 20, 30, 2);
  record(ops::MeshAxis::tensor, 32, 34, 4);
  record(ops::MeshAxis::samples, 15, 40, 3);
  trace::write_events(folder.file("part"));

  std::map<std::string, std::string> names;  // of tracks, by id
  std::map<std::int64_t, nlohmann::json> found;
  for (const auto& event : nlohmann::json::parse("[" + text_of(folder.file("part")) + "]")) {
    if (event["name"] == "thread_name")
      names[event["tid"].dump()] = event["args"]["name"].get<std::string>();
    if (event.value("cat", "") == "collective")
      found[event["args"]["bytes"].get<std::int64_t>()] = event;
  }
  ASSERT_EQ(found.size(), 4U);
  EXPECT_EQ(found[1]["name"], "all_gather shard");
  EXPECT_EQ(found[3]["name"], "all_gather samples");
  for (auto& [bytes, event] : found) {
    EXPECT_EQ(event["ph"], "X");
    EXPECT_EQ(event["pid"], 3);
    EXPECT_EQ(event["args"]["phase"], "forward");
    EXPECT_EQ(event["args"]["queued_us"], 7);
    EXPECT_EQ(event["args"]["waited_us"], 3);
    EXPECT_EQ(names[event["tid"].dump()], bytes == 3 ? "communication 2" : "communication");
  }
  const double begin = found[1]["ts"];
  EXPECT_NEAR(found[2]["ts"].get<double>(), begin + 10, 0.002);
  EXPECT_NEAR(found[3]["ts"].get<double>(), begin + 5, 0.002);
  EXPECT_NEAR(found[4]["ts"].get<double>(), begin + 22, 0.002);
  EXPECT_NEAR(found[3]["dur"].get<double>(), 25, 0.002);
}

}  // namespace
}  // namespace trib::pipeline
