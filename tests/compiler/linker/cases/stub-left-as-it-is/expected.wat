(module
  (type (func (result i32)))
  (type (func (param i32) (result i32)))
  (import "env" "proxy_log" (func (; 0 ;) (; proxy_log ;) (type 1)))
  (func (; 1 ;) (type 1)
    i32.const 12)
  (func (; 2 ;) (type 0)
    i32.const 1
    call 0)
  (func (; 3 ;) (type 0)
    i32.const 1
    call 1)
  (func (; 4 ;) (type 0)
    i32.const 2
    i32.const 0
    call_indirect 0 (type 1))
  (table 1 funcref)
  (export "logged" (func 2))
  (export "new_form" (func 3))
  (export "through_table" (func 4))
  (elem (table 0) (i32.const 0) funcref (ref.func 1))
)
