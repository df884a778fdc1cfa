# Builds the kernel libraries and lays them out as jar resources; called by Maven as
#
#   cmake [-DSUBTEXT_CUDA=AUTO|ON|OFF] [-DTARGETS=all|libraries] -DOUTPUT=native/target/classes -P native/package.cmake
#
# META-INF/native/<system>-<processor>/ then holds the libraries and SHA256SUMS, in the format of sha256sum(1). Java checks the
# digest before it opens a library, because the loader dies on a damaged one.
cmake_minimum_required(VERSION 3.22)

set(source ${CMAKE_CURRENT_LIST_DIR})
set(build ${source}/target/build)
file(MAKE_DIRECTORY ${source}/target) # the log below needs it on the first build
if(NOT DEFINED SUBTEXT_CUDA)
  set(SUBTEXT_CUDA AUTO)
endif()

execute_process(
  COMMAND ${CMAKE_COMMAND} -S ${source} -B ${build} -DCMAKE_BUILD_TYPE=Release -DSUBTEXT_CUDA=${SUBTEXT_CUDA}
  OUTPUT_FILE ${source}/target/configure.log RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "CMake could not configure ${source}: see ${source}/target/configure.log")
endif()
set(targets "")
if(TARGETS STREQUAL libraries) # without the test programs
  set(targets --target subtext_cpu)
  if(NOT SUBTEXT_CUDA STREQUAL OFF)
    execute_process(COMMAND ${CMAKE_COMMAND} --build ${build} --target help OUTPUT_VARIABLE known)
    if(known MATCHES "subtext_cuda\n|subtext_cuda ")
      list(APPEND targets subtext_cuda)
    endif()
  endif()
endif()
execute_process(COMMAND ${CMAKE_COMMAND} --build ${build} --parallel 2 ${targets} RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "the kernel libraries did not compile: the compiler's messages stand above")
endif()

execute_process(COMMAND uname -m OUTPUT_VARIABLE processor OUTPUT_STRIP_TRAILING_WHITESPACE)
string(TOLOWER ${CMAKE_HOST_SYSTEM_NAME} system)
set(folder ${OUTPUT}/META-INF/native/${system}-${processor})
file(MAKE_DIRECTORY ${folder})
set(sums "")
foreach(name libsubtext_cpu.so libsubtext_cuda.so)
  if(EXISTS ${build}/${name} AND NOT (name STREQUAL libsubtext_cuda.so AND SUBTEXT_CUDA STREQUAL OFF))
    file(COPY ${build}/${name} DESTINATION ${folder})
    file(SHA256 ${folder}/${name} digest)
    string(APPEND sums "${digest}  ${name}\n")
  else()
    file(REMOVE ${folder}/${name})
    if(name STREQUAL libsubtext_cpu.so)
      message(FATAL_ERROR "${build}/${name} was not built")
    elseif(SUBTEXT_CUDA STREQUAL ON)
      message(FATAL_ERROR "SUBTEXT_CUDA is ON, but ${build}/${name} was not built: is nvcc on the PATH?")
    endif()
    message(STATUS "no nvcc, or CUDA is switched off: ${name} is left out")
  endif()
endforeach()
file(WRITE ${folder}/SHA256SUMS "${sums}")
