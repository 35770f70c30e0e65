(module
  (type (func (result i32)))
  (func (; 0 ;) (; in_used_table ;) (type 0)
    call 1)
  (func (; 1 ;) (; used ;) (type 0)
    i32.const 4)
  (func (; 2 ;) (type 0)
    i32.const 0
    call_indirect 0 (type 0)
    i32.const 1
    i32.add)
  (table 1 funcref)
  (memory 1)
  (export "main" (func 2))
  (elem (table 0) (i32.const 0) funcref (ref.func 0))
)
