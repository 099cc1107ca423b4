with spent as (
    select o.customer_id, sum(p.amount) as amount
    from stg_payments p
    join stg_orders o on o.order_id = p.order_id
    group by o.customer_id
)
select
    c.customer_id,
    c.first_name,
    c.last_name,
    min(o.order_date) as first_order,
    max(o.order_date) as most_recent_order,
    count(o.order_id) as number_of_orders,
    coalesce(max(s.amount), 0) as customer_lifetime_value
from stg_customers c
left join stg_orders o on o.customer_id = c.customer_id
left join spent s on s.customer_id = c.customer_id
group by c.customer_id, c.first_name, c.last_name
