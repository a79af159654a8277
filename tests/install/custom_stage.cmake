# Install Tributary to WORK/prefix, build examples/custom_stage against it and run its graph.
set(prefix ${WORK}/prefix)
set(build ${WORK}/custom_stage)
file(REMOVE_RECURSE ${prefix} ${build} ${WORK}/run)

set(quiet OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix} ${quiet})
execute_process(COMMAND ${CMAKE_COMMAND} -S ${SOURCE}/examples/custom_stage -B ${build} -G Ninja
  -DCMAKE_PREFIX_PATH=${prefix} -DCMAKE_CXX_COMPILER=${COMPILER} ${quiet})
execute_process(COMMAND ${CMAKE_COMMAND} --build ${build} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${build}/custom_stage ${SOURCE}/examples/custom_stage/graph.yaml ${WORK}/run
  COMMAND_ERROR_IS_FATAL ANY)

foreach(left metrics.csv summary.json graph.yaml)
  if(NOT EXISTS ${WORK}/run/${left})
    message(FATAL_ERROR "the run left no ${left}")
  endif()
endforeach()

# Every installed header stands alone, without headers of other libraries.
file(GLOB_RECURSE headers RELATIVE ${prefix}/include/tributary ${prefix}/include/tributary/*.h)
list(TRANSFORM headers REPLACE "(.+)" "#include \"\\1\"\n")
list(JOIN headers "" all_headers)
file(WRITE ${build}/all_headers.cc "${all_headers}")
execute_process(COMMAND ${COMPILER} -std=c++20 -fsyntax-only -I${prefix}/include/tributary
  ${build}/all_headers.cc COMMAND_ERROR_IS_FATAL ANY)

# The installed program works by itself.
execute_process(COMMAND ${prefix}/bin/trib stages ${quiet})
