#include "pipeline/engine/engine.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <optional>
#include <thread>

#include <fmt/format.h>
#include <tbb/flow_graph.h>

#include "model/model.h"
#include "ops/base/error.h"
#include "pipeline/engine/batcher.h"
#include "pipeline/observe/trace.h"

namespace trib::pipeline {
namespace flow = tbb::flow;

class Engine::Impl {
 public:
  Impl(Plan& plan, Threads& threads, Ingest& ingest, StepHandler steps)
      : plan_(plan),
        threads_(threads),
        ingest_(ingest),
        steps_(std::move(steps)),
        sampler_(plan.sampler_options(Split::train)),
        // Stacking a batch needs its bytes a second time for a moment.
        budget_(plan.ingest().items, plan.ingest().flow_bytes(), plan.ingest().reads),
        order_(plan.sampler_options(Split::train)),
        batch_memory_(ingest.batch_memory(order_)),
        batcher_(plan.rank_batch_size(), order_, batch_memory_.get()) {
    budget_.on_release([this] { pump(); });
  }

  EngineReport run() {
    const double start = trace::seconds();
    threads_.compute_and_wait([this] {
      graph_.emplace();
      build();
      graph_->reserve_wait();
      last_step_end_ = trace::seconds();
      source_open_ = true;
      pump();
      graph_->wait_for_all();
      if (deliver_rest()) graph_->wait_for_all();
    });
    // The read that closed the source may still be on its way out.
    while (io_tasks_ > 0) std::this_thread::yield();
    finish_sinks();
    // Nodes go before the graph they are part of.
    nodes_.clear();
    limiter_.reset();
    queue_.reset();
    graph_.reset();
    failure_.rethrow();
    expect_some_samples();
    report_.samples = samples_;
    report_.seconds = trace::seconds() - start;
    report_.peak_items = budget_.peak_items();
    report_.peak_bytes = budget_.peak_bytes();
    return report_;
  }

  void stop() {
    stopping_ = true;
    ingest_.hurry();
    pump();  // if nothing is in flight, nobody else would notice
  }

  bool sinks_satisfied() const { return unsatisfied_sinks_ == 0; }

  std::function<void(const Failure&)> on_failure_;
  std::function<bool()> interrupted_;

 private:
  struct FlowNode {
    std::unique_ptr<flow::graph_node> node;
    flow::receiver<PacketPtr>* packets_in = nullptr;
    flow::sender<PacketPtr>* packets_out = nullptr;
    flow::receiver<BatchPtr>* batches_in = nullptr;
    flow::sender<BatchPtr>* batches_out = nullptr;
    flow::receiver<StepPtr>* steps_in = nullptr;
    flow::sender<StepPtr>* steps_out = nullptr;
  };
  using PacketNode = flow::function_node<PacketPtr, PacketPtr>;
  using BatchNode = flow::multifunction_node<PacketPtr, std::tuple<BatchPtr>>;
  using StepNode = flow::function_node<StepPtr, StepPtr>;

  // Run `body`; an error ends the run. Nothing runs after the first one or after stop().
  template <class Body>
  void guarded(const std::string& node, const std::function<std::string()>& subject, Body&& body) {
    if (failure_.happened() || stopping_) return;
    try {
      body();
    } catch (...) {
      if (failure_.record_current(node, subject()) && on_failure_) on_failure_(failure_);
      stop();
    }
  }

  std::string subject_of(const Packet& packet) const {
    return plan_.describe(packet.split, packet.requests.front());
  }

  // --- reading -----------------------------------------------------------------------------

  // Start as many reads as the budget allows. Called at the start, after each release of budget and
  // after each read, from any thread. Whoever comes first works for all who come meanwhile, so that
  // no thread waits for another and a credit released in here does not call itself.
  void pump() {
    if (pump_requests_.fetch_add(1) > 0) return;
    std::int64_t served = 0;
    do {
      served = pump_requests_;
      start_reads();
    } while (pump_requests_.fetch_sub(served) != served);
  }

  // Runs on one thread at a time.
  void start_reads() {
    if (!source_open_) return;
    if (!steps_.ends_run && !stopping_ && interrupted_ && interrupted_()) {
      stopping_ = true;
      ingest_.hurry();
    }
    while (!stopping_ && !exhausted_) {
      if (!next_task_) next_task_ = sampler_.next();
      if (!next_task_) {
        exhausted_ = true;
        break;
      }
      const auto count = static_cast<std::int64_t>(next_task_->requests.size());
      std::shared_ptr<Credit> credit = budget_.try_acquire(count, plan_.task_bytes(*next_task_));
      if (credit == nullptr) break;
      ++reads_in_flight_;
      ++io_tasks_;
      const SampleRequest first = next_task_->requests.front();
      ingest_.start_read(
          Split::train, std::move(*next_task_), [this, first] { return place_of(first); },
          [this, first, credit = std::move(credit)](PacketPtr packet,
                                                    const std::exception_ptr& error) mutable {
            take(first, std::move(packet), error, std::move(credit));
            --io_tasks_;
          });
      next_task_.reset();
    }
    trace::counter("samples in flight", static_cast<double>(budget_.items()));
    if ((stopping_ || exhausted_) && reads_in_flight_ == 0) {
      source_open_ = false;
      graph_->release_wait();
    }
  }

  // Where a sample belongs, if it is still wanted.
  std::optional<SampleSlot> place_of(const SampleRequest& request) {
    if (failure_.happened() || stopping_) return std::nullopt;
    return batch_memory_ != nullptr ? batch_memory_->slot(request.position) : SampleSlot{};
  }

  // What came of a read.
  void take(const SampleRequest& first, PacketPtr packet, const std::exception_ptr& error,
            std::shared_ptr<Credit> credit) {
    const int source = plan_.sources()[static_cast<std::size_t>(first.source)].source;
    const std::string& name = plan_.nodes()[static_cast<std::size_t>(source)].name();
    guarded(
        name, [&] { return plan_.describe(Split::train, first); },
        [&] {
          if (error != nullptr) std::rethrow_exception(error);
          if (packet == nullptr) return;
          count_skips(*packet);
          for (std::size_t i = 0; i < packet->requests.size(); ++i) {
            packet->credits.push_back(credit->split(1, plan_.ingest().sample_bytes));
          }
          packet->read_credit = std::move(credit);
          source_out(source).try_put(std::move(packet));
        });
    credit.reset();
    --reads_in_flight_;
    pump();
  }

  // With on_error: skip an endless run over files that are all broken would never end. What arrives
  // at the batch sets the count back; what is in flight may be good and of an epoch of its own
  // each.
  void count_skips(const Packet& packet) {
    if (!plan_.training() || packet.skipped.empty()) return;
    skipped_in_a_row_ += static_cast<std::int64_t>(packet.skipped.size());
    if (skipped_in_a_row_ < (1 + budget_.items()) * sampler_.samples_per_epoch()) return;
    throw DataError(
        fmt::format("{} samples in a row were skipped: nothing is left; the last error "
                    "was: {}",
                    skipped_in_a_row_.load(), ingest_.last_reason()));
  }

  void expect_some_samples() const {
    if (samples_ > 0 || stopping_) return;
    const std::string reason = ingest_.last_reason();
    if (reason.empty()) return;
    const std::size_t damaged = ingest_.skipped().size();
    throw DataError(
        damaged > 0
            ? fmt::format("all {} images were skipped; the last error was: {}", damaged, reason)
            : fmt::format("all samples were left out; the last because: {}", reason));
  }

  flow::broadcast_node<PacketPtr>& source_out(int node) {
    return static_cast<flow::broadcast_node<PacketPtr>&>(
        *nodes_[static_cast<std::size_t>(node)].node);
  }

  // --- the graph ---------------------------------------------------------------------------

  void build() {
    nodes_.resize(plan_.nodes().size());
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      const PlannedNode& planned = plan_.nodes()[i];
      FlowNode& node = nodes_[i];
      if (planned.source != nullptr) {
        auto made = std::make_unique<flow::broadcast_node<PacketPtr>>(*graph_);
        node.packets_out = made.get();
        node.node = std::move(made);
      } else if (planned.transform != nullptr) {
        make_transform(planned, node);
      } else if (planned.batch != nullptr) {
        make_batch(planned, node);
      } else if (planned.model != nullptr) {
        make_layer(planned, node);
      } else if (planned.train != nullptr) {
        make_step_end(planned, node);
      } else if (planned.sink != nullptr) {
        make_sink(planned, node);
      }
      for (const int input : planned.inputs) connect(nodes_[static_cast<std::size_t>(input)], node);
    }
  }

  static void connect(FlowNode& from, FlowNode& to) {
    if (to.packets_in != nullptr) flow::make_edge(*from.packets_out, *to.packets_in);
    if (to.batches_in != nullptr) flow::make_edge(*from.batches_out, *to.batches_in);
    if (to.steps_in != nullptr) flow::make_edge(*from.steps_out, *to.steps_in);
  }

  // Whether a node is the only user of what its input sends.
  bool is_sole_user(const PlannedNode& planned) const {
    return std::all_of(planned.inputs.begin(), planned.inputs.end(), [&](int input) {
      return plan_.nodes()[static_cast<std::size_t>(input)].outputs.size() == 1;
    });
  }

  void make_transform(const PlannedNode& planned, FlowNode& node) {
    const int threads = planned.transform->concurrency();
    const std::size_t concurrency =
        threads == 0 ? std::size_t{flow::unlimited} : static_cast<std::size_t>(threads);
    const bool take = is_sole_user(planned);
    auto made = std::make_unique<PacketNode>(
        *graph_, concurrency, [this, &planned, take](const PacketPtr& input) {
          PacketPtr output = std::make_shared<Packet>();
          guarded(
              planned.name(), [&] { return subject_of(*input); },
              [&] {
                output = ingest_.apply(planned, input, take);
                if (output->skipped.size() > input->skipped.size()) count_skips(*output);
              });
          return output;
        });
    node.packets_in = made.get();
    node.packets_out = made.get();
    node.node = std::move(made);
  }

  void make_batch(const PlannedNode& planned, FlowNode& node) {
    const bool take = is_sole_user(planned);
    auto made = std::make_unique<BatchNode>(
        *graph_, flow::serial,
        [this, &planned, take](const PacketPtr& input, BatchNode::output_ports_type& ports) {
          guarded(
              planned.name(), [&] { return subject_of(*input); },
              [&] {
                const trace::Span span("ingest", planned.name());
                if (!input->samples.empty()) skipped_in_a_row_ = 0;
                for (BatchPtr& batch : batcher_.add(input, take)) {
                  count(*batch);
                  std::get<0>(ports).try_put(std::move(batch));
                }
              });
        });
    node.packets_in = made.get();
    node.batches_out = &flow::output_port<0>(*made);
    node.node = std::move(made);
  }

  void count(const Batch& batch) {
    ++report_.batches;
    samples_ += static_cast<std::int64_t>(batch.requests.size());
    ++batches_waiting_;
  }

  // Samples that do not fill a batch when the sources are exhausted; a training never is.
  bool deliver_rest() {
    if (plan_.batch_node() < 0 || stopping_) return false;
    bool delivered = false;
    guarded(
        plan_.nodes()[static_cast<std::size_t>(plan_.batch_node())].name(), [] { return "rest"; },
        [&] {
          const BatchPtr rest = batcher_.rest();
          if (rest == nullptr) return;
          count(*rest);
          auto& node =
              static_cast<BatchNode&>(*nodes_[static_cast<std::size_t>(plan_.batch_node())].node);
          delivered = flow::output_port<0>(node).try_put(rest);
        });
    return delivered;
  }

  // The first layer stands behind a queue and a limiter that lets one step in.
  void make_layer(const PlannedNode& planned, FlowNode& node) {
    const model::Layer& layer =
        *planned.info.model->layers()[static_cast<std::size_t>(planned.layer)];
    const auto forward = [this, &planned, &layer](StepMessage& message) {
      guarded(
          planned.name(), [&] { return fmt::format("batch {}", message.batch->index); },
          [&] {
            const trace::Span span("forward", planned.name());
            layer.forward(*message.step);
            if (steps_.after_layer) steps_.after_layer(message, planned.layer);
          });
    };
    if (planned.layer > 0) {
      auto made =
          std::make_unique<StepNode>(*graph_, flow::serial, [forward](const StepPtr& message) {
            forward(*message);
            return message;
          });
      node.steps_in = made.get();
      node.steps_out = made.get();
      node.node = std::move(made);
      return;
    }
    queue_ = std::make_unique<flow::queue_node<BatchPtr>>(*graph_);
    limiter_ = std::make_unique<flow::limiter_node<BatchPtr, int>>(*graph_, 1);
    auto made = std::make_unique<flow::function_node<BatchPtr, StepPtr>>(
        *graph_, flow::serial, [this, &planned, forward](const BatchPtr& batch) {
          auto message = std::make_shared<StepMessage>();
          message->batch = batch;
          message->permit =
              std::shared_ptr<void>(nullptr, [this](void*) { limiter_->decrementer().try_put(1); });
          trace::counter("batches waiting", static_cast<double>(--batches_waiting_));
          guarded(
              planned.name(), [&] { return fmt::format("batch {}", batch->index); },
              [&] {
                message->start_seconds = trace::seconds();
                message->wait_seconds = message->start_seconds - last_step_end_;
                message->step = steps_.begin(*batch);
              });
          forward(*message);
          return message;
        });
    flow::make_edge(*queue_, *limiter_);
    flow::make_edge(*limiter_, *made);
    node.batches_in = queue_.get();
    node.steps_out = made.get();
    node.node = std::move(made);
  }

  void make_step_end(const PlannedNode& planned, FlowNode& node) {
    auto made = std::make_unique<flow::function_node<StepPtr>>(
        *graph_, flow::serial, [this, &planned](const StepPtr& message) {
          guarded(
              planned.name(), [&] { return fmt::format("batch {}", message->batch->index); },
              [&] { steps_.finish(*message); });
          last_step_end_ = trace::seconds();
        });
    node.steps_in = made.get();
    node.node = std::move(made);
  }

  void make_sink(const PlannedNode& planned, FlowNode& node) {
    ++unsatisfied_sinks_;
    switch (plan_.nodes()[static_cast<std::size_t>(planned.inputs.front())].info.kind) {
      case StreamKind::samples: {
        auto made = std::make_unique<flow::function_node<PacketPtr>>(
            *graph_, flow::serial, [this, &planned](const PacketPtr& packet) {
              guarded(
                  planned.name(), [&] { return subject_of(*packet); },
                  [&] {
                    const trace::Span span("sink", planned.name());
                    for (const Sample& sample : packet->samples) {
                      if (planned.sink->satisfied()) break;
                      planned.sink->consume_sample(sample);
                      if (plan_.batch_node() < 0) ++samples_;
                      stop_when_satisfied(*planned.sink);
                    }
                  });
            });
        node.packets_in = made.get();
        node.node = std::move(made);
        return;
      }
      case StreamKind::batches: {
        auto made = std::make_unique<flow::function_node<BatchPtr>>(
            *graph_, flow::serial, [this, &planned](const BatchPtr& batch) {
              guarded(
                  planned.name(), [&] { return fmt::format("batch {}", batch->index); },
                  [&] {
                    const trace::Span span("sink", planned.name());
                    if (planned.sink->satisfied()) return;
                    planned.sink->consume_batch(*batch);
                    stop_when_satisfied(*planned.sink);
                  });
            });
        node.batches_in = made.get();
        node.node = std::move(made);
        return;
      }
      case StreamKind::steps: {
        auto made = std::make_unique<flow::function_node<StepPtr>>(
            *graph_, flow::serial, [this, &planned](const StepPtr& message) {
              guarded(
                  planned.name(), [&] { return fmt::format("batch {}", message->batch->index); },
                  [&] {
                    {
                      const trace::Span span("sink", planned.name());
                      if (!planned.sink->satisfied()) {
                        planned.sink->consume_step(*message->step, *message->batch);
                        stop_when_satisfied(*planned.sink);
                      }
                    }
                    steps_.finish(*message);
                  });
              last_step_end_ = trace::seconds();
            });
        node.steps_in = made.get();
        node.node = std::move(made);
        return;
      }
    }
  }

  // A graph ends when all its sinks have had enough, unless its steps decide.
  // Called after each consume: a sink becomes satisfied once, and only its own thread may ask it.
  void stop_when_satisfied(const SinkStage& sink) {
    if (sink.satisfied() && --unsatisfied_sinks_ == 0 && !steps_.ends_run) stop();
  }

  void finish_sinks() {
    if (failure_.happened()) return;
    for (const PlannedNode& planned : plan_.nodes()) {
      if (planned.sink != nullptr) planned.sink->finish();
    }
  }

  Plan& plan_;
  Threads& threads_;
  Ingest& ingest_;
  StepHandler steps_;
  Failure failure_;
  EngineReport report_;

  std::atomic<std::int64_t> pump_requests_{0};
  Sampler sampler_;  // this and the next two belong to whoever runs start_reads()
  std::optional<ReadTask> next_task_;
  bool exhausted_ = false;
  std::atomic<bool> source_open_{false};  // once in a run; set by run() when the graph stands
  std::atomic<std::int64_t> reads_in_flight_{0};
  std::atomic<std::int64_t> io_tasks_{0};  // that may still touch this object
  std::optional<flow::graph> graph_;

  std::atomic<bool> stopping_{false};
  std::atomic<std::int64_t> skipped_in_a_row_{0};
  std::atomic<std::int64_t> unsatisfied_sinks_{0};
  std::atomic<std::int64_t> samples_{0};
  std::atomic<std::int64_t> batches_waiting_{0};
  double last_step_end_ = 0;  // written and read by serial nodes of one chain

  // Everything that may hold credits is destroyed before the budget.
  Budget budget_;
  const Sampler order_;  // asked by the batcher while pump() moves sampler_ on another thread
  const std::unique_ptr<BatchMemory> batch_memory_;
  Batcher batcher_;
  std::unique_ptr<flow::queue_node<BatchPtr>> queue_;
  std::unique_ptr<flow::limiter_node<BatchPtr, int>> limiter_;
  std::vector<FlowNode> nodes_;  // steps that are left in them go through the limiter
};

Engine::Engine(Plan& plan, Threads& threads, Ingest& ingest, StepHandler steps)
    : impl_(std::make_unique<Impl>(plan, threads, ingest, std::move(steps))) {}
Engine::~Engine() = default;

EngineReport Engine::run() {
  return impl_->run();
}
void Engine::stop() {
  impl_->stop();
}
bool Engine::sinks_satisfied() const {
  return impl_->sinks_satisfied();
}
void Engine::on_failure(std::function<void(const Failure&)> callback) {
  impl_->on_failure_ = std::move(callback);
}

void Engine::interrupted_by(std::function<bool()> interrupted) {
  impl_->interrupted_ = std::move(interrupted);
}

}  // namespace trib::pipeline
