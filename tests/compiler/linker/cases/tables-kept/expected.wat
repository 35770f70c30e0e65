(module
  (type (func (result i32)))
  (type (func (param i32) (result i32)))
  (func (; 0 ;) (; f ;) (type 0)
    i32.const 6)
  (func (; 1 ;) (type 0)
    table.size 1)
  (func (; 2 ;) (type 1)
    local.get 0
    table.get 0
    ref.is_null)
  (table 3 10 funcref)
  (table 4 externref)
  (export "a" (table 0))
  (export "get" (func 2))
  (export "size" (func 1))
  (elem (table 0) (i32.const 0) funcref (ref.null func) (ref.func 0))
)
