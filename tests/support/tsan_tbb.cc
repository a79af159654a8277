// Tells the thread sanitizer what oneTBB guarantees.
//
// The library itself is not instrumented, so the sanitizer does not see that what happens before a
// task is spawned happens before it runs, nor that what tasks do happens before the end of a wait
// for them; every use of TBB would be reported as a race. These wrappers stand before the
// library's entry points and state exactly those orders, and nothing more. Built into programs when
// TRIB_SANITIZE contains "thread".

#include <cstdint>
#include <cstdlib>
#include <utility>

#include <dlfcn.h>
#include <sanitizer/tsan_interface.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

namespace tbb::detail {
namespace {

template <class Function>
Function* library_function(const char* mangled) {
  void* const found = dlsym(RTLD_NEXT, mangled);
  if (found == nullptr) std::abort();
  return reinterpret_cast<Function*>(found);
}

/// Stands for a task in the library's queues.
class OrderedTask final : public d1::task {
 public:
  explicit OrderedTask(d1::task& inner) : inner_(inner) { __tsan_release(this); }

  // If this throws, the library goes on to cancel the same task.
  d1::task* execute(d1::execution_data& data) override {
    __tsan_acquire(this);
    return ended(inner_.execute(data));
  }
  d1::task* cancel(d1::execution_data& data) override {
    __tsan_acquire(this);
    return ended(inner_.cancel(data));
  }

 private:
  d1::task* ended(d1::task* next) {
    delete this;
    return next;
  }

  d1::task& inner_;
};

/// Stands for a function that another thread of the arena may run.
class OrderedDelegate final : public d1::delegate_base {
 public:
  explicit OrderedDelegate(d1::delegate_base& body) : body_(body) {
    __tsan_release(const_cast<bool*>(&ended_));
  }
  bool operator()() const override {
    void* const order = const_cast<bool*>(&ended_);
    __tsan_acquire(order);
    const bool result = body_();
    __tsan_release(order);
    return result;
  }
  void join() { __tsan_acquire(&ended_); }

 private:
  d1::delegate_base& body_;
  bool ended_ = false;  // an address to order by
};

/// The last task that ends has released the count of those to wait for, which lies behind a word;
/// also where the wait ends with an exception.
class EndOf {
 public:
  explicit EndOf(d1::wait_context& context) : context_(context) {}
  ~EndOf() { __tsan_acquire(reinterpret_cast<char*>(&context_) + sizeof(std::uint64_t)); }
  EndOf(const EndOf&) = delete;
  EndOf& operator=(const EndOf&) = delete;

 private:
  d1::wait_context& context_;
};

}  // namespace

namespace r1 {

void spawn(d1::task& task, d1::task_group_context& context) {
  static auto* const original = library_function<void(d1::task&, d1::task_group_context&)>(
      "_ZN3tbb6detail2r15spawnERNS0_2d14taskERNS2_18task_group_contextE");
  original(*new OrderedTask(task), context);
}

void spawn(d1::task& task, d1::task_group_context& context, d1::slot_id slot) {
  static auto* const original =
      library_function<void(d1::task&, d1::task_group_context&, d1::slot_id)>(
          "_ZN3tbb6detail2r15spawnERNS0_2d14taskERNS2_18task_group_contextEt");
  original(*new OrderedTask(task), context, slot);
}

void enqueue(d1::task& task, d1::task_arena_base* arena) {
  static auto* const original = library_function<void(d1::task&, d1::task_arena_base*)>(
      "_ZN3tbb6detail2r17enqueueERNS0_2d14taskEPNS2_15task_arena_baseE");
  original(*new OrderedTask(task), arena);
}

void enqueue(d1::task& task, d1::task_group_context& context, d1::task_arena_base* arena) {
  static auto* const original =
      library_function<void(d1::task&, d1::task_group_context&, d1::task_arena_base*)>(
          "_ZN3tbb6detail2r17enqueueERNS0_2d14taskERNS2_18task_group_contextEPNS2_15task_arena_"
          "baseE");
  original(*new OrderedTask(task), context, arena);
}

void submit(d1::task& task, d1::task_group_context& context, arena* where,
            std::uintptr_t as_critical) {
  static auto* const original =
      library_function<void(d1::task&, d1::task_group_context&, arena*, std::uintptr_t)>(
          "_ZN3tbb6detail2r16submitERNS0_2d14taskERNS2_18task_group_contextEPNS1_5arenaEm");
  original(*new OrderedTask(task), context, where, as_critical);
}

void execute(d1::task_arena_base& arena, d1::delegate_base& body) {
  static auto* const original = library_function<void(d1::task_arena_base&, d1::delegate_base&)>(
      "_ZN3tbb6detail2r17executeERNS0_2d115task_arena_baseERNS2_13delegate_baseE");
  OrderedDelegate ordered(body);
  original(arena, ordered);
  ordered.join();
}

void wait(d1::wait_context& ended, d1::task_group_context& context) {
  static auto* const original = library_function<void(d1::wait_context&, d1::task_group_context&)>(
      "_ZN3tbb6detail2r14waitERNS0_2d112wait_contextERNS2_18task_group_contextE");
  const EndOf end(ended);
  original(ended, context);
}

void execute_and_wait(d1::task& task, d1::task_group_context& task_context, d1::wait_context& ended,
                      d1::task_group_context& context) {
  static auto* const original = library_function<void(d1::task&, d1::task_group_context&,
                                                      d1::wait_context&, d1::task_group_context&)>(
      "_ZN3tbb6detail2r116execute_and_waitERNS0_2d14taskERNS2_18task_group_contextERNS2_12wait_"
      "contextES6_");
  const EndOf end(ended);
  original(task, task_context, ended, context);
}

// Memory of small objects passes from thread to thread inside the library.
void* allocate(d1::small_object_pool*& pool, std::size_t bytes, const d1::execution_data& data) {
  static auto* const original =
      library_function<void*(d1::small_object_pool*&, std::size_t, const d1::execution_data&)>(
          "_ZN3tbb6detail2r18allocateERPNS0_2d117small_object_poolEmRKNS2_14execution_dataE");
  void* const memory = original(pool, bytes, data);
  __tsan_acquire(memory);
  return memory;
}

void* allocate(d1::small_object_pool*& pool, std::size_t bytes) {
  static auto* const original = library_function<void*(d1::small_object_pool*&, std::size_t)>(
      "_ZN3tbb6detail2r18allocateERPNS0_2d117small_object_poolEm");
  void* const memory = original(pool, bytes);
  __tsan_acquire(memory);
  return memory;
}

void deallocate(d1::small_object_pool& pool, void* memory, std::size_t bytes,
                const d1::execution_data& data) {
  static auto* const original =
      library_function<void(d1::small_object_pool&, void*, std::size_t, const d1::execution_data&)>(
          "_ZN3tbb6detail2r110deallocateERNS0_2d117small_object_poolEPvmRKNS2_14execution_dataE");
  __tsan_release(memory);
  original(pool, memory, bytes, data);
}

void deallocate(d1::small_object_pool& pool, void* memory, std::size_t bytes) {
  static auto* const original = library_function<void(d1::small_object_pool&, void*, std::size_t)>(
      "_ZN3tbb6detail2r110deallocateERNS0_2d117small_object_poolEPvm");
  __tsan_release(memory);
  original(pool, memory, bytes);
}

}  // namespace r1
}  // namespace tbb::detail
