# Objects compiled for AVX2 or AVX-512 must export nothing that other code could be linked to: only their own namespace, no weak
# functions. Otherwise an older processor might be handed a copy it cannot run.
#   cmake -DNM=nm -DOBJECTS=a.o;b.o -P isa_symbols.cmake
foreach(object IN LISTS OBJECTS)
    execute_process(COMMAND ${NM} -C --defined-only ${object} OUTPUT_VARIABLE symbols RESULT_VARIABLE failed)
    if(failed)
        message(FATAL_ERROR "${NM} cannot read ${object}")
    endif()
    string(REGEX MATCHALL "[^\n]+" lines "${symbols}")
    foreach(line IN LISTS lines)
        if(line MATCHES " [WVu] ")
            message(FATAL_ERROR "${object} has a symbol that the linker may share: ${line}")
        endif()
        if(line MATCHES " [TDBR] " AND NOT line MATCHES "subtext::avx(2|512)::")
            message(FATAL_ERROR "${object} exports outside its namespace: ${line}")
        endif()
    endforeach()
endforeach()
