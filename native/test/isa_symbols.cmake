# Objects compiled for an instruction set must export nothing that other code could be linked to: only their own namespace, no weak
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
        if(line MATCHES " [TDBR] " AND NOT line MATCHES "subtext::(avx2|avx512|amx|amx_emulated)::")
            message(FATAL_ERROR "${object} exports outside its namespace: ${line}")
        endif()
    endforeach()
endforeach()
