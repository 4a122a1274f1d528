WITH monthly AS (
    SELECT
        date_trunc('month', o.created_at) AS month,
        c.region_id,
        p.category_id,
        count(DISTINCT o.id) AS orders,
        count(DISTINCT o.customer_id) AS customers,
        sum(l.quantity * l.unit_price) AS gross,
        sum(l.quantity * l.unit_price * (1 - coalesce(l.discount, 0))) AS net,
        avg(extract(epoch FROM o.shipped_at - o.created_at)) FILTER (WHERE o.shipped_at IS NOT NULL) AS seconds
    FROM orders o
    JOIN customers c ON c.id = o.customer_id AND c.deleted_at IS NULL
    JOIN order_lines l ON l.order_id = o.id
    JOIN products p ON p.id = l.product_id
    LEFT JOIN returns r ON r.line_id = l.id AND r.reason <> 'exchange'
    WHERE o.created_at >= date_trunc('year', now()) - interval '1 year'
      AND o.status IN ('paid', 'shipped', 'closed')
      AND r.id IS NULL
    GROUP BY 1, 2, 3
),
ranked AS (
    SELECT
        m.*,
        rank() OVER (PARTITION BY m.month, m.region_id ORDER BY m.net DESC) AS place,
        m.net - lag(m.net) OVER (PARTITION BY m.region_id, m.category_id ORDER BY m.month) AS growth,
        sum(m.net) OVER (PARTITION BY m.region_id ORDER BY m.month ROWS BETWEEN 11 PRECEDING AND CURRENT ROW) AS year_net
    FROM monthly m
)
SELECT
    r.month,
    g.name AS region,
    k.name AS category,
    r.orders,
    r.customers,
    round(r.net::numeric, 2) AS net,
    round((r.growth / NULLIF(r.net - r.growth, 0) * 100)::numeric, 1) AS growth_percent,
    CASE
        WHEN r.growth IS NULL THEN 'new'
        WHEN r.growth > 0 THEN 'up'
        ELSE 'down'
    END AS trend,
    (SELECT count(*) FROM stock s WHERE s.category_id = r.category_id AND s.quantity < s.minimum) AS short
FROM ranked r
JOIN regions g ON g.id = r.region_id
JOIN categories k ON k.id = r.category_id
WHERE r.place <= 10
  AND EXISTS (SELECT 1 FROM budgets b WHERE b.region_id = r.region_id AND b.year = extract(year FROM r.month))
ORDER BY r.month DESC, g.name, r.place
LIMIT 500;
